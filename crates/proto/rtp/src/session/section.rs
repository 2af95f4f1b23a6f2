use std::sync::Arc;

use crate::extension::{Form, Name};
use crate::session::terms::{Format, Terms};

/// A media section: what was agreed on, so that it is found fast.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) terms: Terms,
    pub(super) mid: Arc<str>,
    pub(super) ids: Identifiers,
    pub(super) form: Form,
}

/// What a payload type stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The format itself.
    Media,
    /// Retransmissions of it (RFC 4588).
    Repair,
    /// It, with copies of what was sent before (RFC 2198).
    Redundant,
}

impl Section {
    pub(super) fn new(terms: Terms) -> Self {
        let mut ids = Identifiers::default();
        ids.add(&terms);
        let mid = Arc::from(&*terms.mid);
        let long = terms.extensions.iter().any(|(id, _)| *id > 14) || terms.mid.len() > 16;
        let form = if long && terms.mixed { Form::TwoByte } else { Form::OneByte };
        Self { terms, mid, ids, form }
    }

    /// What may come under a payload type.
    pub(super) fn expects(&self, payload_type: u8) -> Option<(&Format, Role)> {
        let role = |format: &Format| match payload_type {
            own if own == format.payload_type => Some(Role::Media),
            rtx if Some(rtx) == format.rtx => Some(Role::Repair),
            red if Some(red) == format.red => Some(Role::Redundant),
            _ => None,
        };
        self.terms.expected.iter().find_map(|format| role(format).map(|role| (format, role)))
    }

    /// What is sent under a payload type, or by default.
    pub(super) fn format(&self, payload_type: Option<u8>) -> Option<&Format> {
        let wanted = |format: &&Format| payload_type.is_none_or(|wanted| wanted == format.payload_type);
        self.terms.formats.iter().find(wanted)
    }

    /// The identifier of a header extension, if it may be written in the form that packets have.
    pub(super) fn id(&self, name: Name) -> Option<u8> {
        self.ids.get(name).filter(|id| self.form == Form::TwoByte || (1..=14).contains(id))
    }

    /// Bytes that header extensions take at most.
    pub(super) fn extension_bytes(&self) -> usize {
        let rids = self.terms.send.iter().flatten().filter_map(|encoding| encoding.rid.as_deref());
        let rid = rids.map(str::len).max().unwrap_or(0);
        let value = |name: Name| match name {
            Name::Mid => self.mid.len(),
            Name::Rid => rid,
            // In place of the other.
            Name::RepairedRid => 0,
            Name::AbsoluteCaptureTime => 16,
            _ => 3,
        };
        let bytes: usize =
            Name::ALL.into_iter().filter(|name| self.id(*name).is_some()).map(|name| value(name) + 2).sum();
        if bytes == 0 { 0 } else { 4 + bytes.next_multiple_of(4) }
    }

    /// What the other side's receiver says back, of any format.
    pub(super) fn hears(&self, what: impl Fn(&Format) -> bool) -> bool {
        self.terms.formats.iter().any(what)
    }
}

/// Which identifier stands for which header extension.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Identifiers([Option<u8>; Name::ALL.len()]);

impl Identifiers {
    /// Adds those of a section; in a bundle they are the same in all (RFC 8843 §9).
    pub(super) fn add(&mut self, terms: &Terms) {
        for (id, name) in &terms.extensions {
            self.0[*name as usize].get_or_insert(*id);
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<u8> {
        self.0[name as usize]
    }

    /// What an identifier stands for.
    pub(super) fn name(&self, id: u8) -> Option<Name> {
        Name::ALL.into_iter().find(|name| self.get(*name) == Some(id))
    }
}
