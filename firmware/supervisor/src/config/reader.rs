//! Reads sections of typed keys out of TOML, and finds every fault at once. A section is
//! written down once, by [`section!`]: its documentation, its defaults, its reader and
//! the text of `gatehouse default-config` all come from there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something in a configuration file that must be mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    /// The line, counted from 1, if it has one.
    pub(crate) line: Option<usize>,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// A setting's type.
pub(crate) trait Value: Sized {
    /// Reads it; the error says what is wanted.
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
    /// Writes it as TOML; `None` if it is not set.
    fn show(&self) -> Option<String>;
}

/// One key, for documentation.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    /// Its default in TOML, if it has one.
    pub(crate) default: Option<String>,
}

/// A table of the file.
pub(crate) trait Section: Default {
    const NAME: &'static str;
    const DOC: &'static [&'static str];
    fn keys() -> Vec<Key>;
    /// Reads it; what is left out is as in `base`.
    fn read_over(reader: &mut Reader<'_, '_>, base: &Self) -> Self;
}

/// Takes the keys of one table, and remembers what it found wrong.
pub(crate) struct Reader<'a, 'i> {
    text: &'a str,
    /// How messages call the table.
    place: String,
    table: Option<&'a DeTable<'i>>,
    faults: &'a mut Vec<Fault>,
}

impl<'a, 'i> Reader<'a, 'i> {
    /// A reader of one table; `place` is how messages call it.
    pub(crate) fn new(
        text: &'a str,
        place: String,
        table: Option<&'a DeTable<'i>>,
        faults: &'a mut Vec<Fault>,
    ) -> Self {
        Reader {
            text,
            place,
            table,
            faults,
        }
    }

    /// A key's value; its default if it is absent or wrong.
    pub(crate) fn value<T: Value>(&mut self, key: &str, default: impl FnOnce() -> T) -> T {
        let Some(value) = self.table.and_then(|table| table.get(key)) else {
            return default();
        };
        match T::read(value.get_ref()) {
            Ok(value) => value,
            Err(wanted) => {
                self.faults.push(Fault {
                    line: Some(line_of(self.text, value.span().start)),
                    message: format!("{} {key}: {wanted}", self.place),
                });
                default()
            }
        }
    }
}

/// Reads one section of a parsed file.
pub(crate) fn read_section<S: Section>(
    text: &str,
    root: &DeTable<'_>,
    faults: &mut Vec<Fault>,
) -> S {
    let table = match root.get(S::NAME).map(Spanned::get_ref) {
        None => None,
        Some(DeValue::Table(table)) => Some(table),
        Some(_) => {
            faults.push(Fault {
                line: None,
                message: format!("[{}] must be a table", S::NAME),
            });
            None
        }
    };
    let known: Vec<&str> = S::keys().iter().map(|key| key.name).collect();
    let place = format!("[{}]", S::NAME);
    if let Some(table) = table {
        check_keys(text, &place, table, &known, faults);
    }
    S::read_over(&mut Reader::new(text, place, table, faults), &S::default())
}

/// Finds the keys of a table that are none.
pub(crate) fn check_keys(
    text: &str,
    place: &str,
    table: &DeTable<'_>,
    known: &[&str],
    faults: &mut Vec<Fault>,
) {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            faults.push(Fault {
                line: Some(line_of(text, key.span().start)),
                message: unknown(&format!("key `{name}` in {place}"), name, known),
            });
        }
    }
}

/// Says that a name is unknown, and which one may be meant.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .min();
    match nearest {
        Some((_, candidate)) => format!("unknown {what}; the nearest known one is `{candidate}`"),
        None => format!("unknown {what}"),
    }
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// The line of a place in a text, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Writes a section down: documentation, keys, types and defaults.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $name:ident = $table:literal
        $($(#[doc = $key_doc:literal])* $key:ident: $type:ty = $default:expr,)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            $($(#[doc = $key_doc])* pub(crate) $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($key: $default,)* }
            }
        }

        impl $crate::config::reader::Section for $name {
            const NAME: &'static str = $table;
            const DOC: &'static [&'static str] = &[$($doc),*];

            fn keys() -> Vec<$crate::config::reader::Key> {
                let default = Self::default();
                vec![$($crate::config::reader::Key {
                    name: stringify!($key),
                    doc: &[$($key_doc),*],
                    default: $crate::config::reader::Value::show(&default.$key),
                },)*]
            }

            fn read_over(
                reader: &mut $crate::config::reader::Reader<'_, '_>,
                base: &Self,
            ) -> Self {
                $name { $($key: reader.value(stringify!($key), || base.$key.clone()),)* }
            }
        }
    };
}
pub(crate) use section;

/// A range of port numbers, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortRange(pub(crate) RangeInclusive<u16>);

impl std::str::FromStr for PortRange {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').ok_or(())?;
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| ());
        let (first, last) = (port(first)?, port(last)?);
        if first == 0 || first > last {
            return Err(());
        }
        Ok(PortRange(first..=last))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

/// Values that are a TOML string of a form.
macro_rules! text_value {
    ($type:ty, $wanted:literal) => {
        impl $crate::config::reader::Value for $type {
            fn read(value: &toml::de::DeValue<'_>) -> Result<Self, String> {
                value
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| format!("must be {}", $wanted))
            }

            fn show(&self) -> Option<String> {
                Some(format!("{:?}", self.to_string()))
            }
        }
    };
}
pub(crate) use text_value;

text_value!(SocketAddr, "an address with a port, like \"0.0.0.0:443\"");
text_value!(IpAddr, "an address, like \"192.0.2.1\"");
text_value!(PortRange, "a range of ports, like \"20000-29999\"");
text_value!(String, "a text in quotes");

impl Value for PathBuf {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
            .ok_or_else(|| "must be a path in quotes".to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(format!("{:?}", self.to_string_lossy()))
    }
}

impl Value for bool {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| "must be true or false".to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

macro_rules! number_value {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                value
                    .as_integer()
                    .filter(|number| number.radix() == 10)
                    .and_then(|number| number.as_str().parse().ok())
                    .ok_or_else(|| format!("must be a number from 0 to {}", <$type>::MAX))
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
number_value!(u16, u32, usize);

impl Value for Duration {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value
            .as_str()
            .and_then(parse_duration)
            .ok_or_else(|| "must be a time like \"250ms\", \"10s\", \"5m\" or \"4h\"".to_owned())
    }

    fn show(&self) -> Option<String> {
        let millis = self.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let (number, unit) = units
            .into_iter()
            .find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit))
            .map_or((millis, "ms"), |(unit, name)| (millis / unit, name));
        Some(format!("\"{number}{unit}\""))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (millis <= LONGEST_MILLIS).then(|| Duration::from_millis(millis))
}

/// Ten years: no time of the box is longer, and no sum of times overflows.
const LONGEST_MILLIS: u64 = 10 * 365 * 24 * 3_600_000;

impl<T: Value> Value for Option<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        T::read(value).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let Some(items) = value.as_array() else {
            // One thing may stand without its brackets.
            return T::read(value).map(|item| vec![item]).map_err(|wanted| {
                format!("must be a list in square brackets, or one item, which {wanted}")
            });
        };
        items
            .iter()
            .map(|item| T::read(item.get_ref()).map_err(|wanted| format!("each item {wanted}")))
            .collect()
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(T::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}
