use std::collections::VecDeque;

use sdp::{Origin, Rtp, Section, Session, Setup};

use super::answer::{Acceptance, answer};
use super::media;
use super::offer::Outline;
use super::remote::{Remote, anchor};
use crate::description::{Description, LocalTransport};
use crate::media::Planned;
use crate::{
    Configuration, DescriptionError, Error, IceCandidateInit, SdpType, SessionDescription, SignalingState,
    TransceiverId,
};

/// The exchange of offers and answers: which descriptions are in force, which in negotiation, and what may come next
/// (RFC 9429 §3.2).
#[derive(Debug)]
pub(crate) struct Negotiation {
    pub(super) signaling: SignalingState,
    /// From the last completed exchange.
    pub(super) current: Sides,
    /// From the one under way.
    pub(super) pending: Sides,
    session_id: u64,
    session_version: u64,
    /// The offer or answer created last: the only one that may become the local description.
    pub(super) created: Option<Description>,
    /// Whether we are the DTLS client, once that is settled.
    client: Option<bool>,
    /// Whether the other side takes candidates one by one, once it has said.
    pub(crate) can_trickle: Option<bool>,
    /// Candidates that came before their description.
    pub(super) early: VecDeque<IceCandidateInit>,
    /// Whether media is of interest: sections of it are read, and may carry the transport.
    pub(crate) media: bool,
    /// Whether the offer of the last exchange was ours.
    we_offered: bool,
}

/// The descriptions of both sides.
#[derive(Debug, Default)]
pub(super) struct Sides {
    pub(super) local: Option<Description>,
    pub(super) remote: Option<Description>,
}

/// What an answer has settled about the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Our ICE generation.
    pub(crate) local_ufrag: String,
    /// Whether we are the DTLS client.
    pub(crate) client: bool,
    /// Whether the DTLS association that may exist ends here.
    pub(crate) new_association: bool,
    pub(crate) remote: Remote,
}

impl Agreement {
    /// Whether both sides let the DTLS handshake ride in checks.
    pub(crate) fn embeds(&self, configuration: &Configuration) -> bool {
        configuration.sped && self.remote.embeds
    }
}

/// A remote description that has passed all checks and can be applied.
#[derive(Debug)]
pub(crate) struct Checked {
    description: Description,
    trickle: bool,
}

impl Negotiation {
    /// `session_id`: random, of at most 62 bits (RFC 9429 §5.2.1). `media`: whether it is of interest from the beginning.
    pub(crate) fn new(session_id: u64, media: bool) -> Self {
        Self {
            signaling: SignalingState::Stable,
            current: Sides::default(),
            pending: Sides::default(),
            session_id,
            session_version: 0,
            created: None,
            client: None,
            can_trickle: None,
            early: VecDeque::new(),
            media,
            we_offered: false,
        }
    }

    pub(crate) fn signaling(&self) -> SignalingState {
        self.signaling
    }

    pub(crate) fn close(&mut self) {
        self.signaling = SignalingState::Closed;
        self.created = None;
    }

    pub(crate) fn current_local(&self) -> Option<&Description> {
        self.current.local.as_ref()
    }

    pub(crate) fn current_remote(&self) -> Option<&Description> {
        self.current.remote.as_ref()
    }

    pub(crate) fn pending_local(&self) -> Option<&Description> {
        self.pending.local.as_ref()
    }

    pub(crate) fn pending_remote(&self) -> Option<&Description> {
        self.pending.remote.as_ref()
    }

    /// The local description: that in negotiation, else that in force.
    pub(crate) fn local(&self) -> Option<&Description> {
        self.pending.local.as_ref().or(self.current.local.as_ref())
    }

    /// The remote description: that in negotiation, else that in force.
    pub(crate) fn remote(&self) -> Option<&Description> {
        self.pending.remote.as_ref().or(self.current.remote.as_ref())
    }

    /// What `set_local_description` without a description creates.
    pub(crate) fn implicit_kind(&self) -> SdpType {
        match self.signaling {
            SignalingState::HaveRemoteOffer | SignalingState::HaveLocalPranswer => SdpType::Answer,
            _ => SdpType::Offer,
        }
    }

    /// Whether the last completed exchange carries data channels.
    pub(crate) fn has_data(&self) -> bool {
        let alive =
            |side: &Option<Description>| side.as_ref().is_some_and(|it| data_index(&it.session).is_some());
        alive(&self.current.local) && alive(&self.current.remote)
    }

    /// Whether the answer to our offer has rejected its data section.
    pub(crate) fn is_data_refused(&self) -> bool {
        let offered = self.local().filter(|local| local.kind == SdpType::Offer);
        let refused = self.remote().is_some_and(|remote| data_index(&remote.session).is_none());
        refused && offered.is_some_and(|offer| data_index(&offer.session).is_some())
    }

    /// The offer that awaits our answer, and the other end of the transport that it wants, if there is one to accept.
    pub(crate) fn pending_offer(&self) -> Option<(&Session, Remote)> {
        let session = &self.pending.remote.as_ref()?.session;
        Some((session, self.remote_of(session)?))
    }

    /// What both sides have said last: the local description, the remote one, and whether ours was the offer.
    pub(crate) fn both(&self) -> Option<(&Session, &Session, bool)> {
        let (local, remote) = (self.local()?, self.remote()?);
        Some((&local.session, &remote.session, local.kind == SdpType::Offer))
    }

    /// Whether the offer of the last completed exchange was ours.
    pub(crate) fn we_offered(&self) -> bool {
        self.we_offered
    }

    fn remote_of(&self, session: &Session) -> Option<Remote> {
        Remote::of(session, self.media).ok().flatten()
    }

    /// The ICE generation of our description in negotiation, or in force.
    pub(crate) fn local_ufrag(&self) -> Option<String> {
        self.anchor(&self.local()?.session)?.ice_ufrag().map(String::from)
    }

    /// The place and the name of the section that candidates are told for.
    pub(crate) fn local_anchor(&self) -> Option<(usize, Option<&str>)> {
        let session = &self.local()?.session;
        let index = anchor(session, self.media)?;
        Some((index, session.section(index)?.mid()))
    }

    /// Whether the offer that awaits our answer restarts ICE.
    pub(crate) fn is_remote_restart(&self) -> bool {
        let remote = |side: &Option<Description>| side.as_ref().and_then(|it| self.remote_of(&it.session));
        match (remote(&self.pending.remote), remote(&self.current.remote)) {
            (Some(pending), Some(current)) => pending.restarts(&current),
            _ => false,
        }
    }

    /// Writes an offer (RFC 9429 §5.2), and says which section is whose. `data`: whether it has to carry data channels.
    ///
    /// # Errors
    /// While their offer awaits an answer there is none to make.
    pub(crate) fn create_offer(
        &mut self,
        data: bool,
        media: &[Planned],
        transport: &LocalTransport,
    ) -> Result<(SessionDescription, Vec<(usize, TransceiverId)>), Error> {
        self.expect(SdpType::Offer, "local")?;
        let origin = self.next_origin();
        let outline = Outline {
            origin,
            local: self.local().map(|it| &it.session),
            remote: self.current.remote.as_ref().map(|it| &it.session),
            data,
            media,
            transport,
        };
        let (session, places) = outline.offer();
        Ok((self.remember(SdpType::Offer, session), places))
    }

    /// Writes an answer to the offer under way (RFC 9429 §5.3). `media`: what is said in the sections that are taken, if
    /// media is of interest. `transport`: `None` if nothing is taken.
    ///
    /// # Errors
    /// Without an offer there is nothing to answer.
    pub(crate) fn create_answer(
        &mut self,
        media: Option<&[(usize, Rtp)]>,
        transport: Option<&LocalTransport>,
    ) -> Result<SessionDescription, Error> {
        self.expect(SdpType::Answer, "local")?;
        let origin = self.next_origin();
        let offer = self.pending.remote.as_ref().expect("an offer is being answered");
        let remote = Remote::of(&offer.session, self.media)?;
        let accepted = match (&remote, transport) {
            (Some(remote), Some(transport)) => {
                Some(Acceptance { remote, transport, setup: self.answering_setup(remote)?, media })
            }
            _ => None,
        };
        let session = answer(origin, &offer.session, accepted);
        Ok(self.remember(SdpType::Answer, session))
    }

    /// Makes the description created last the local one.
    ///
    /// # Errors
    /// If it does not fit the state, or is not the one created last.
    pub(crate) fn set_local(&mut self, description: &SessionDescription) -> Result<(), Error> {
        self.expect(description.kind, "local")?;
        let created = self.created.take_if(|created| {
            (created.kind == SdpType::Offer) == (description.kind == SdpType::Offer)
                && created.session.to_string() == description.sdp
        });
        let mut created = created.ok_or(Error::Modified)?;
        created.kind = description.kind;
        self.pending.local = Some(created);
        self.advance(description.kind, SignalingState::HaveLocalOffer, SignalingState::HaveLocalPranswer);
        Ok(())
    }

    /// Checks a remote description without applying it (RFC 9429 §5.8).
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub(crate) fn check_remote(&self, description: &SessionDescription) -> Result<Checked, Error> {
        if !self.yields_to(description.kind) {
            self.expect(description.kind, "remote")?;
        }
        let session = Session::parse(&description.sdp)?;
        let remote = Remote::of(&session, self.media)?;
        if self.media {
            media::check(&session)?;
        }
        match description.kind {
            SdpType::Offer => self.check_offer(&session, remote.as_ref())?,
            _ => self.check_answer(&session, remote.as_ref())?,
        }
        let trickle =
            session.sections().any(|section| section.ice_options().any(|option| option == "trickle"))
                || session.ice_options().any(|option| option == "trickle");
        Ok(Checked { description: Description { kind: description.kind, session }, trickle })
    }

    /// Applies what [`Negotiation::check_remote`] has found good.
    pub(crate) fn set_remote(&mut self, checked: Checked) {
        let kind = checked.description.kind;
        self.can_trickle = Some(checked.trickle);
        self.created = None;
        self.pending.remote = Some(checked.description);
        self.advance(kind, SignalingState::HaveRemoteOffer, SignalingState::HaveRemotePranswer);
    }

    /// What the answer that was just applied, final or not, has settled; `None` if nothing is agreed on.
    pub(crate) fn agreement(&mut self, earlier: Option<&Remote>) -> Option<Agreement> {
        let (local, remote) = (self.local()?, self.remote()?);
        let agreed = self.remote_of(&remote.session)?;
        let is_data = agreed.sctp.is_some();
        let own = local
            .session
            .section(agreed.index)
            .filter(|own| own.is_data() == is_data && !own.is_rejected())?;
        let local_ufrag = own.ice_ufrag()?.to_owned();
        let new_association = earlier.is_some_and(|earlier| agreed.is_another_endpoint(earlier));
        // Whoever answered has chosen (RFC 8842 §5).
        let client = match local.kind {
            SdpType::Offer => agreed.setup == Setup::Passive,
            _ => own.setup() == Some(Setup::Active),
        };
        self.client = Some(client);
        Some(Agreement { local_ufrag, client, new_association, remote: agreed })
    }

    fn check_offer(&self, session: &Session, remote: Option<&Remote>) -> Result<(), DescriptionError> {
        let known = [&self.current.local, &self.current.remote];
        let known = known.into_iter().flatten().map(|it| it.session.media.len()).max().unwrap_or(0);
        if session.media.len() < known {
            return Err(DescriptionError::SectionsMissing);
        }
        let Some(remote) = remote else { return Ok(()) };
        self.answering_setup(remote)?;
        let Some(earlier) = self.earlier() else { return Ok(()) };
        if has_other_port(remote, &earlier) {
            return Err(DescriptionError::SctpPortChanged);
        }
        if remote.is_another_endpoint(&earlier) && !remote.restarts(&earlier) {
            return Err(DescriptionError::FingerprintChanged);
        }
        remote.check_init(&earlier)
    }

    fn check_answer(&self, session: &Session, remote: Option<&Remote>) -> Result<(), DescriptionError> {
        let offer = &self.pending.local.as_ref().expect("an answer follows an offer").session;
        if session.media.len() != offer.media.len() {
            return Err(DescriptionError::Sections);
        }
        for (answered, offered) in session.sections().zip(offer.sections()) {
            let alike = answered.media().kind() == offered.media().kind()
                && answered.media().protocol() == offered.media().protocol()
                && answered.mid().is_none_or(|mid| offered.mid() == Some(mid));
            if !alike || (offered.is_rejected() && !answered.is_rejected()) {
                return Err(DescriptionError::Sections);
            }
        }
        let Some(remote) = remote else { return Ok(()) };
        if !matches!(remote.setup, Setup::Active | Setup::Passive) {
            return Err(DescriptionError::Setup);
        }
        if let Some(provisional) = self.pending.remote.as_ref() {
            let provisional = self.remote_of(&provisional.session);
            if provisional.is_some_and(|it| it.restarts(remote) || it.is_another_endpoint(remote)) {
                return Err(DescriptionError::UnofferedRestart);
            }
        }
        let Some(earlier) = self.earlier() else { return Ok(()) };
        let offered = |side: &Option<Description>| {
            let ufrag = side.as_ref().and_then(|it| self.anchor(&it.session)).and_then(Section::ice_ufrag);
            ufrag.map(String::from)
        };
        let restart_offered = offered(&self.pending.local) != offered(&self.current.local);
        match (restart_offered, remote.restarts(&earlier)) {
            (false, true) => return Err(DescriptionError::UnofferedRestart),
            (true, false) => return Err(DescriptionError::RestartIgnored),
            _ => {}
        }
        remote.check_init(&earlier)?;
        let another = remote.is_another_endpoint(&earlier);
        if another && !restart_offered {
            return Err(DescriptionError::FingerprintChanged);
        }
        if has_other_port(remote, &earlier) {
            return Err(DescriptionError::SctpPortChanged);
        }
        match self.client {
            Some(client) if !another && client != (remote.setup == Setup::Passive) => {
                Err(DescriptionError::Setup)
            }
            _ => Ok(()),
        }
    }

    /// The DTLS role of an answer to this remote end: active, unless it or an association in use says otherwise.
    fn answering_setup(&self, remote: &Remote) -> Result<Setup, DescriptionError> {
        let continued = self.earlier().is_some_and(|earlier| !remote.is_another_endpoint(&earlier));
        let wanted = match self.client.filter(|_| continued) {
            Some(true) => Some(Setup::Active),
            Some(false) => Some(Setup::Passive),
            None => None,
        };
        match (remote.setup, wanted) {
            (Setup::Actpass, wanted) => Ok(wanted.unwrap_or(Setup::Active)),
            (Setup::Active, None | Some(Setup::Passive)) => Ok(Setup::Passive),
            (Setup::Passive, None | Some(Setup::Active)) => Ok(Setup::Active),
            _ => Err(DescriptionError::Setup),
        }
    }

    /// The other end of the transport that is in use.
    fn earlier(&self) -> Option<Remote> {
        let (local, remote) = (self.current.local.as_ref()?, self.current.remote.as_ref()?);
        self.anchor(&local.session)?;
        self.remote_of(&remote.session)
    }

    /// The section whose transport is the connection's.
    fn anchor<'a>(&self, session: &'a Session) -> Option<Section<'a>> {
        session.section(anchor(session, self.media)?)
    }

    /// Moves on after a description was put into `pending`.
    fn advance(&mut self, kind: SdpType, offered: SignalingState, provisional: SignalingState) {
        self.signaling = match kind {
            SdpType::Offer => offered,
            SdpType::Pranswer => provisional,
            SdpType::Answer | SdpType::Rollback => {
                self.we_offered = self.both().is_some_and(|(_, _, ours)| ours);
                self.current = std::mem::take(&mut self.pending);
                self.created = None;
                SignalingState::Stable
            }
        };
    }

    /// Whether a description of this kind may come from this side now (RFC 9429 §5.5, §5.6).
    pub(crate) fn expect(&self, kind: SdpType, side: &'static str) -> Result<(), Error> {
        use SignalingState::{
            Closed, HaveLocalOffer, HaveLocalPranswer, HaveRemoteOffer, HaveRemotePranswer, Stable,
        };
        let local = side == "local";
        let fits = match (kind, self.signaling) {
            (_, Closed) => return Err(Error::Closed),
            (SdpType::Offer, Stable) => true,
            (SdpType::Offer, HaveLocalOffer) => local,
            (SdpType::Offer, HaveRemoteOffer) => !local,
            (SdpType::Pranswer | SdpType::Answer, HaveRemoteOffer | HaveLocalPranswer) => local,
            (SdpType::Pranswer | SdpType::Answer, HaveLocalOffer | HaveRemotePranswer) => !local,
            _ => false,
        };
        if fits { Ok(()) } else { Err(Error::WrongState { side, kind, state: self.signaling }) }
    }

    fn next_origin(&mut self) -> Origin {
        self.session_version += 1;
        Origin::new(self.session_id, self.session_version)
    }

    fn remember(&mut self, kind: SdpType, session: Session) -> SessionDescription {
        let description = Description { kind, session };
        let public = description.to_public();
        self.created = Some(description);
        public
    }
}

/// Where the data section stands that is not rejected.
fn data_index(session: &Session) -> Option<usize> {
    session.sections().position(|section| section.is_data() && !section.is_rejected())
}

/// Whether an association that is in use would have to talk to another port.
fn has_other_port(remote: &Remote, earlier: &Remote) -> bool {
    let ports = (remote.sctp.as_ref(), earlier.sctp.as_ref());
    matches!(ports, (Some(own), Some(before)) if own.port != before.port)
}
