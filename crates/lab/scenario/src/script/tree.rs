//! A TOML file as a tree whose every leaf knows where it stands, and whose branches know what belongs on them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use netsim::Prefix;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Mistake, Source, instead};
use super::quantity;

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spot<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A table whose keys are taken one by one; those that are left are mistakes.
pub(crate) struct Section<'t> {
    pub(crate) source: &'t Source<'t>,
    /// What it describes, for people: `a network`.
    what: &'static str,
    pub(crate) span: Range<usize>,
    entries: Vec<(Spot<String>, Spanned<DeValue<'t>>)>,
    known: Vec<&'static str>,
}

/// A value under a key.
pub(crate) struct Item<'t> {
    source: &'t Source<'t>,
    pub(crate) span: Range<usize>,
    value: DeValue<'t>,
}

impl<'t> Section<'t> {
    /// The file as a whole.
    pub(crate) fn parse(source: &'t Source<'t>) -> Result<Self, Mistake> {
        let table = DeTable::parse(source.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let what = error.message().lines().next().unwrap_or("this is not TOML").replace('\n', " ");
            source.mistake(&span, what, "a line such as `key = \"value\"` or `[hosts.alice]`")
        })?;
        Ok(Self::new(source, "a scenario", table.span(), table.into_inner()))
    }

    fn new(source: &'t Source<'t>, what: &'static str, span: Range<usize>, table: DeTable<'t>) -> Self {
        let mut entries: Vec<_> = table
            .into_iter()
            .map(|(key, value)| (Spot { span: key.span(), value: key.into_inner().into_owned() }, value))
            .collect();
        // As in the file, so that nothing depends on how things are called.
        entries.sort_by_key(|(key, _)| key.span.start);
        Self { source, what, span, entries, known: Vec::new() }
    }

    /// The value of `key`, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Item<'t>> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, _)| name.value == key)?;
        Some(self.item(at))
    }

    fn item(&mut self, at: usize) -> Item<'t> {
        let (_, value) = self.entries.remove(at);
        Item { source: self.source, span: value.span(), value: value.into_inner() }
    }

    /// The value of `key`, which must be there.
    pub(crate) fn need(&mut self, key: &'static str, expected: &str) -> Result<Item<'t>, Mistake> {
        let what = self.what;
        self.take(key).ok_or_else(|| self.wrong(format!("{what} lacks `{key}`"), expected))
    }

    /// The first of `keys` that is there: tells which kind of thing this is.
    pub(crate) fn take_verb(&mut self, keys: &[&'static str]) -> Result<(&'static str, Item<'t>), Mistake> {
        self.known.extend_from_slice(keys);
        let found = self.entries.iter().position(|(name, _)| keys.contains(&name.value.as_str()));
        match found {
            Some(at) => {
                let key = *keys.iter().find(|key| **key == self.entries[at].0.value).expect("just found");
                Ok((key, self.item(at)))
            }
            None => Err(match self.entries.iter().find(|(name, _)| name.value != "at") {
                Some((name, _)) => self.unknown(name, keys),
                None => self.wrong(
                    format!("{} says nothing", self.what),
                    super::mistake::either(keys.iter().copied()),
                ),
            }),
        }
    }

    /// All entries, for tables whose keys are names.
    pub(crate) fn into_entries(self) -> Vec<(Spot<String>, Item<'t>)> {
        let source = self.source;
        self.entries
            .into_iter()
            .map(|(key, value)| (key, Item { source, span: value.span(), value: value.into_inner() }))
            .collect()
    }

    /// Complains about keys that nobody took.
    pub(crate) fn finish(self) -> Result<(), Mistake> {
        match self.entries.first() {
            Some((name, _)) => Err(self.unknown(name, &self.known)),
            None => Ok(()),
        }
    }

    fn unknown(&self, name: &Spot<String>, known: &[&'static str]) -> Mistake {
        let what = format!("unknown key `{}` in {}", name.value, self.what);
        self.source.mistake(&name.span, what, instead(&name.value, known))
    }

    pub(crate) fn wrong(&self, what: impl Into<String>, expected: impl Into<String>) -> Mistake {
        self.source.mistake(&self.span, what, expected)
    }
}

impl<'t> Item<'t> {
    pub(crate) fn wrong(&self, what: impl Into<String>, expected: impl Into<String>) -> Mistake {
        self.source.mistake(&self.span, what, expected)
    }

    fn mismatch(&self, expected: &str) -> Mistake {
        let found = match &self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("this is {found}"), expected)
    }

    /// A string.
    pub(crate) fn text(self, expected: &str) -> Result<Spot<String>, Mistake> {
        match self.value {
            DeValue::String(text) => Ok(Spot { value: text.into_owned(), span: self.span }),
            _ => Err(self.mismatch(expected)),
        }
    }

    /// A table.
    pub(crate) fn section(self, what: &'static str) -> Result<Section<'t>, Mistake> {
        match self.value {
            DeValue::Table(table) => Ok(Section::new(self.source, what, self.span, table)),
            _ => Err(self.mismatch("a table")),
        }
    }

    /// A list.
    pub(crate) fn list(self, expected: &str) -> Result<Vec<Item<'t>>, Mistake> {
        let source = self.source;
        let item =
            |value: Spanned<DeValue<'t>>| Item { source, span: value.span(), value: value.into_inner() };
        match self.value {
            DeValue::Array(array) => Ok(array.into_iter().map(item).collect()),
            _ => Err(self.mismatch(expected)),
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// One string, or a list of them.
    pub(crate) fn texts(self, expected: &str) -> Result<Vec<Spot<String>>, Mistake> {
        if self.is_list() {
            self.list(expected)?.into_iter().map(|item| item.text(expected)).collect()
        } else {
            Ok(vec![self.text(expected)?])
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(self) -> Result<bool, Mistake> {
        match self.value {
            DeValue::Boolean(flag) => Ok(flag),
            _ => Err(self.mismatch("`true` or `false`")),
        }
    }

    /// A whole number from `range`.
    pub(crate) fn number(self, range: std::ops::RangeInclusive<u64>) -> Result<u64, Mistake> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match &self.value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .filter(|number| range.contains(number))
                .ok_or_else(|| self.wrong(format!("{number} is out of range"), &*expected)),
            _ => Err(self.mismatch(&expected)),
        }
    }

    /// A port.
    pub(crate) fn port(self) -> Result<u16, Mistake> {
        Ok(self.number(1..=65535)? as u16)
    }

    /// A string that `parse` understands.
    fn parsed<T>(self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Spot<T>, Mistake> {
        let source = self.source;
        let text = self.text(expected)?;
        match parse(&text.value) {
            Some(value) => Ok(Spot { value, span: text.span }),
            None => Err(source.mistake(&text.span, format!("`{}` is not that", text.value), expected)),
        }
    }

    /// A time: `20ms`, `1.5s`, `2min`, `1h`.
    pub(crate) fn duration(self) -> Result<Duration, Mistake> {
        Ok(self.parsed("a time such as \"20ms\", \"1.5s\", \"2min\" or \"1h\"", quantity::duration)?.value)
    }

    /// A probability: `1%`, or a number from 0 to 1.
    pub(crate) fn share(self) -> Result<f64, Mistake> {
        const EXPECTED: &str = "a share such as \"1%\" or 0.01";
        let number = match &self.value {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            _ => return Ok(self.parsed(EXPECTED, quantity::share)?.value),
        };
        number
            .filter(|number| (0.0..=1.0).contains(number))
            .ok_or_else(|| self.wrong("this is out of range", EXPECTED))
    }

    /// Bits in a second: `10Mbit/s`.
    pub(crate) fn rate(self) -> Result<u64, Mistake> {
        Ok(self.parsed("a rate such as \"512kbit/s\" or \"10Mbit/s\"", quantity::rate)?.value)
    }

    /// One IP address, or a list of them.
    pub(crate) fn addresses(self) -> Result<Vec<Spot<IpAddr>>, Mistake> {
        let source = self.source;
        let expected = "an IP address such as \"192.168.0.7\" or \"2a0a::7\"";
        let parse = |text: Spot<String>| {
            let value = text.value.parse().map_err(|_| {
                source.mistake(&text.span, format!("`{}` is not an address", text.value), expected)
            })?;
            Ok(Spot { value, span: text.span })
        };
        self.texts(expected)?.into_iter().map(parse).collect()
    }

    /// An IP address and a port.
    pub(crate) fn is_socket(text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    /// A range of IPv4 addresses with room for a host.
    pub(crate) fn prefix(self) -> Result<Spot<Prefix>, Mistake> {
        let parse = |text: &str| {
            let prefix: Prefix = text.parse().ok()?;
            (prefix.base().is_ipv4() && prefix.address(63).is_some()).then_some(prefix)
        };
        self.parsed("a range of at least 64 IPv4 addresses such as \"192.168.0.0/24\"", parse)
    }

    /// `true`, `false`, or a range of IPv6 addresses.
    pub(crate) fn ipv6(self) -> Result<(bool, Option<Spot<Prefix>>), Mistake> {
        if let DeValue::Boolean(flag) = self.value {
            return Ok((flag, None));
        }
        let parse = |text: &str| {
            let prefix: Prefix = text.parse().ok()?;
            (prefix.base().is_ipv6() && prefix.address(1 << 16).is_some()).then_some(prefix)
        };
        let prefix = self.parsed("`true`, or a range of IPv6 addresses such as \"2a0a:1::/64\"", parse)?;
        Ok((true, Some(prefix)))
    }

    /// One of `known`.
    pub(crate) fn one_of<T: Copy>(self, known: &[(&str, T)]) -> Result<T, Mistake> {
        let source = self.source;
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let text = self.text(&super::mistake::either(names.iter().copied()))?;
        match known.iter().find(|(name, _)| *name == text.value) {
            Some((_, value)) => Ok(*value),
            None => {
                let what = format!("there is no `{}`", text.value);
                Err(source.mistake(&text.span, what, instead(&text.value, &names)))
            }
        }
    }
}
