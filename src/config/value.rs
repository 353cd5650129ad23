//! The kinds of values that keys have, each with the one syntax that it accepts.
//!
//! Units are part of the value: a bare number where a duration or a size belongs is an error that says which unit to write.

#[path = "value_places.rs"]
mod places;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use toml::de::DeValue;

use super::problem::{any_of, nearest, quoted};
use super::read::{Mismatch, Scalar, valid_name};
use super::{
    BaseRole, ClientTlsMode, Durability, LogFormat, LogLevel, OnFailure, Permit, PoolMode, Secret, ServerTlsMode,
    SessionState, Shipped, TlsVersion, Values,
};
use crate::tenant::KeyType;

impl Mismatch {
    fn meant(text: impl Into<String>) -> Self {
        Self { meant: Some(text.into()), note: None }
    }

    fn note(text: impl Into<String>) -> Self {
        Self { meant: None, note: Some(text.into()) }
    }
}

impl Scalar for bool {
    fn accepts() -> String {
        "true or false".to_owned()
    }

    fn example() -> &'static str {
        "true"
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        match value {
            DeValue::Boolean(flag) => Ok(*flag),
            DeValue::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Err(Mismatch::meant("true")),
                "false" | "no" | "off" | "0" => Err(Mismatch::meant("false")),
                _ => Err(Mismatch::default()),
            },
            _ => Err(Mismatch::default()),
        }
    }
}

/// A whole number within bounds (both included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(pub u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    pub(crate) fn get(self) -> usize {
        self.0 as usize
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for Whole<MIN, MAX> {
    fn accepts() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn example() -> &'static str {
        "16"
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let in_bounds = |text: &str, radix| u32::from_str_radix(text, radix).ok().filter(|n| (MIN..=MAX).contains(n));
        match value {
            DeValue::Integer(number) => {
                in_bounds(number.as_str(), number.radix()).map(Self).ok_or_else(Mismatch::default)
            }
            DeValue::String(text) => match in_bounds(text.trim(), 10) {
                Some(number) => Err(Mismatch { meant: Some(number.to_string()), note: Some("no quotes".to_owned()) }),
                None => Err(Mismatch::default()),
            },
            _ => Err(Mismatch::default()),
        }
    }
}

/// A duration above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub Duration);

impl Scalar for Span {
    fn accepts() -> String {
        r#"a duration such as "30s" (units ms, s, min, h, d)"#.to_owned()
    }

    fn example() -> &'static str {
        r#""30s""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let span = duration(value)?;
        if span.is_zero() { Err(Mismatch::note("zero is not possible here")) } else { Ok(Self(span)) }
    }
}

/// A duration, zero included: there it means never, or the system's own value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanOrZero(pub Duration);

impl Scalar for SpanOrZero {
    fn accepts() -> String {
        r#"a duration such as "30s" (units ms, s, min, h, d), or "0s""#.to_owned()
    }

    fn example() -> &'static str {
        r#""30s""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        duration(value).map(Self)
    }
}

/// Longest duration that is accepted: ten years, so that sums with any clock stay in range.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

fn duration(value: &DeValue<'_>) -> Result<Duration, Mismatch> {
    let text = match value {
        DeValue::String(text) => text.as_ref(),
        DeValue::Integer(number) => {
            return Err(Mismatch { meant: Some(format!("\"{number}s\"")), note: Some("add a unit".to_owned()) });
        }
        _ => return Err(Mismatch::default()),
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || number.len() > 12 {
        return Err(Mismatch::note("a whole number and a unit, without a sign or a fraction"));
    }
    let number: u64 = number.parse().map_err(|_| Mismatch::default())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(Mismatch { meant: Some(format!("\"{number}s\"")), note: Some("add a unit".to_owned()) }),
        other => {
            let meant = match other.trim().to_ascii_lowercase().as_str() {
                "m" | "mins" | "minute" | "minutes" | "min" => Some("min"),
                "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
                "ms" | "msec" | "millis" | "milliseconds" => Some("ms"),
                "h" | "hr" | "hour" | "hours" => Some("h"),
                "d" | "day" | "days" => Some("d"),
                _ => None,
            };
            return Err(Mismatch { meant: meant.map(|unit| format!("\"{number}{unit}\"")), note: None });
        }
    };
    let span = number.checked_mul(millis).map(Duration::from_millis).filter(|span| *span <= DURATION_MAX);
    span.ok_or_else(|| Mismatch::note("at most ten years"))
}

/// A size in bytes within bounds (both included, in KiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size<const MIN_KIB: u32, const MAX_KIB: u32>(pub usize);

impl<const MIN_KIB: u32, const MAX_KIB: u32> Scalar for Size<MIN_KIB, MAX_KIB> {
    fn accepts() -> String {
        let (min, max) = (size_text(u64::from(MIN_KIB) << 10), size_text(u64::from(MAX_KIB) << 10));
        format!(r#"a size from "{min}" to "{max}" (units B, KiB, MiB, GiB)"#)
    }

    fn example() -> &'static str {
        r#""1MiB""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let text = match value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) => {
                let meant = number.as_str().parse().map_or_else(|_| "1MiB".to_owned(), size_text);
                return Err(Mismatch { meant: Some(format!("\"{meant}\"")), note: Some("add a unit".to_owned()) });
            }
            _ => return Err(Mismatch::default()),
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| Mismatch::default())?;
        let shift = match unit {
            "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            other => {
                let unit = match other.trim().to_ascii_lowercase().as_str() {
                    "" | "b" | "bytes" => "B",
                    "k" | "kb" | "kib" => "KiB",
                    "m" | "mb" | "mib" => "MiB",
                    "g" | "gb" | "gib" => "GiB",
                    _ => return Err(Mismatch::default()),
                };
                return Err(Mismatch::meant(format!("\"{number}{unit}\"")));
            }
        };
        let bounds = u64::from(MIN_KIB) << 10..=u64::from(MAX_KIB) << 10;
        let bytes = number.checked_mul(1 << shift).filter(|bytes| bounds.contains(bytes));
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).map(Self).ok_or_else(Mismatch::default)
    }
}

/// Bytes with the largest unit that leaves a whole number.
pub(crate) fn size_text(bytes: u64) -> String {
    match bytes {
        0 => "0B".to_owned(),
        b if b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => format!("{b}B"),
    }
}

/// An IP address and port.
impl Scalar for SocketAddr {
    fn accepts() -> String {
        r#"an address and port such as "127.0.0.1:6432""#.to_owned()
    }

    fn example() -> &'static str {
        r#""127.0.0.1:6432""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let DeValue::String(text) = value else {
            return Err(match value {
                DeValue::Integer(port) if port.as_str().parse::<u16>().is_ok() => {
                    Mismatch::meant(format!("\"127.0.0.1:{port}\""))
                }
                _ => Mismatch::default(),
            });
        };
        text.parse().map_err(|_| match text.rsplit_once(':') {
            Some(("*" | "", port)) => Mismatch::meant(quoted(&format!("0.0.0.0:{port}"))),
            Some(("localhost", port)) => Mismatch::meant(quoted(&format!("127.0.0.1:{port}"))),
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                Mismatch::meant(quoted(&format!("[{address}]:{port}")))
            }
            Some(_) => Mismatch::note("host names are not looked up here"),
            None => Mismatch::note("the port is missing"),
        })
    }
}

/// A name of PostgreSQL's kind: a role, a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(pub Arc<str>);

impl Scalar for Name {
    fn accepts() -> String {
        "a name of 1 to 63 bytes".to_owned()
    }

    fn example() -> &'static str {
        r#""app""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        match value {
            DeValue::String(text) if valid_name(text).is_ok() => Ok(Self(Arc::from(text.as_ref()))),
            _ => Err(Mismatch::default()),
        }
    }
}

/// A host name or IP address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host(pub Arc<str>);

impl Scalar for Host {
    fn accepts() -> String {
        "a host name or IP address, without a port".to_owned()
    }

    fn example() -> &'static str {
        r#""127.0.0.1""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let DeValue::String(text) = value else { return Err(Mismatch::default()) };
        if text.starts_with('/') {
            return Err(Mismatch::note("for a Unix socket use socket_dir in place of host"));
        }
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        // RFC 1123 names, with the underscore that container networks use.
        let is_name = text.len() <= 253
            && text.trim_end_matches('.').split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if is_address || is_name {
            return Ok(Self(Arc::from(text.as_ref())));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                Err(Mismatch { meant: Some(format!("{}, port = {port}", quoted(host))), note: None })
            }
            Some(_) | None => Err(Mismatch::default()),
        }
    }
}

/// A path; relative ones are taken from the configuration file's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePath(pub PathBuf);

impl Scalar for FilePath {
    fn accepts() -> String {
        "a path".to_owned()
    }

    fn example() -> &'static str {
        r#""/etc/pgwarden/file""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        match value {
            DeValue::String(text) if !text.is_empty() && !text.contains('\0') => Ok(Self(PathBuf::from(text.as_ref()))),
            _ => Err(Mismatch::default()),
        }
    }
}

/// A password as it is.
impl Scalar for Secret {
    const SECRET: bool = true;

    fn accepts() -> String {
        "a string of 1 to 1000 bytes".to_owned()
    }

    fn example() -> &'static str {
        r#""…""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        match value {
            DeValue::String(text) if valid_password(text) => Ok(Self::new(text.as_ref())),
            DeValue::Integer(_) => Err(Mismatch::note("put it in quotes")),
            _ => Err(Mismatch::default()),
        }
    }
}

/// What a PasswordMessage can carry, and libpq will send.
pub(crate) fn valid_password(text: &str) -> bool {
    (1..=1000).contains(&text.len()) && !text.contains('\0')
}

/// The name of an environment variable. A value that does not look like one may be a secret put in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvName(pub String);

impl Scalar for EnvName {
    const SECRET: bool = true;

    fn accepts() -> String {
        "the name of an environment variable (A to Z, 0 to 9 and _)".to_owned()
    }

    fn example() -> &'static str {
        r#""APP_PASSWORD""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let DeValue::String(text) = value else { return Err(Mismatch::default()) };
        let valid = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && text.starts_with(|c: char| !c.is_ascii_digit())
            && text.len() <= 128;
        if valid { Ok(Self(text.as_ref().to_owned())) } else { Err(Mismatch::default()) }
    }
}

/// A stored SCRAM verifier, checked for its form only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verifier(pub Secret);

impl Scalar for Verifier {
    const SECRET: bool = true;

    fn accepts() -> String {
        "a SCRAM verifier, SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as in pg_authid".to_owned()
    }

    fn example() -> &'static str {
        r#""SCRAM-SHA-256$4096:…""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let DeValue::String(text) = value else { return Err(Mismatch::default()) };
        verifier_form(text).map_err(Mismatch::note)?;
        Ok(Self(Secret::new(text.as_ref())))
    }
}

/// Most iterations that a verifier may ask for: a login costs the client so many HMACs.
const ITERATIONS_MAX: u32 = 10_000_000;

/// Checks a verifier's form: iterations, a salt, and two keys of 32 bytes, in base64. The error never quotes the text.
pub(crate) fn verifier_form(text: &str) -> Result<(), &'static str> {
    if text.starts_with("md5") && text.len() == 35 {
        return Err("an md5 hash cannot serve a SCRAM login; make a verifier with: pgwarden passwd");
    }
    let rest =
        text.strip_prefix("SCRAM-SHA-256$").ok_or("it begins with SCRAM-SHA-256$; make one with: pgwarden passwd")?;
    let (head, keys) = rest.split_once('$').ok_or("a $ stands between the salt and the keys")?;
    let (iterations, salt) = head.split_once(':').ok_or("a : stands between the iterations and the salt")?;
    let (stored, server) = keys.split_once(':').ok_or("a : stands between the two keys")?;
    let digits = !iterations.is_empty() && iterations.bytes().all(|b| b.is_ascii_digit());
    if !digits || !iterations.parse().is_ok_and(|n: u32| (1..=ITERATIONS_MAX).contains(&n)) {
        return Err("the iterations are a whole number from 1 to 10000000");
    }
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    if !decode(salt).is_some_and(|salt| (1..=256).contains(&salt.len())) {
        return Err("the salt is base64 of 1 to 256 bytes");
    }
    if ![stored, server].iter().all(|key| decode(key).is_some_and(|key| key.len() == 32)) {
        return Err("each key is base64 of 32 bytes");
    }
    Ok(())
}

/// A moment, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub u64);

impl Scalar for Moment {
    fn accepts() -> String {
        r#"a date and time with its offset, such as "2027-01-31T00:00:00Z""#.to_owned()
    }

    fn example() -> &'static str {
        r#""2027-01-31T00:00:00Z""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let moment = match value {
            DeValue::Datetime(moment) => *moment,
            DeValue::String(text) if text.len() <= 40 => text.parse().map_err(|_| Mismatch::default())?,
            _ => return Err(Mismatch::default()),
        };
        let (Some(date), Some(time)) = (moment.date, moment.time) else {
            return Err(Mismatch::note("both a date and a time"));
        };
        let offset = match moment.offset {
            Some(toml::value::Offset::Z) => 0,
            Some(toml::value::Offset::Custom { minutes }) => i64::from(minutes) * 60,
            None => return Err(Mismatch::note("add the offset: Z for UTC")),
        };
        let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
        let second = time.second;
        let seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(second);
        let unix = days * 86_400 + seconds - offset;
        u64::try_from(unix).map(Self).map_err(|_| Mismatch::note("not before 1970"))
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March so that the leap day ends
/// one: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

/// An authentication method towards a server that must be permitted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeakAuth {
    Md5,
    Cleartext,
}

/// `isolation` of a tenancy, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsolationWord {
    Row,
    Schema,
    Database,
}

/// `context` of a tenancy, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContextWord {
    Sealed,
    Setting,
}

/// `rewrite` of a tenancy, by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RewriteWord {
    Off,
    Tables,
    All,
}

/// A tenant's key as text; its type is the tenancy's to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyText(pub Arc<str>);

impl Scalar for KeyText {
    fn accepts() -> String {
        "the key as a string".to_owned()
    }

    fn example() -> &'static str {
        r#""42""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        match value {
            DeValue::String(text) if !text.is_empty() => Ok(Self(Arc::from(text.as_ref()))),
            DeValue::Integer(number) => Err(Mismatch::meant(quoted(number.as_str()))),
            _ => Err(Mismatch::default()),
        }
    }
}

/// A log's name in its checkpoints, which a key's name can be too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin(pub Arc<str>);

impl Scalar for Origin {
    fn accepts() -> String {
        "a name of 1 to 200 bytes without spaces and plus signs".to_owned()
    }

    fn example() -> &'static str {
        r#""example.com/audit""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let fits = |text: &str| {
            (1..=200).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
        };
        match value {
            DeValue::String(text) if fits(text) => Ok(Self(Arc::from(text.as_ref()))),
            _ => Err(Mismatch::default()),
        }
    }
}

/// A column by its schema, table and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column(pub Arc<str>);

impl Scalar for Column {
    fn accepts() -> String {
        "a column as schema.table.column".to_owned()
    }

    fn example() -> &'static str {
        r#""public.invoices.note""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let fits = |text: &str| text.split('.').count() == 3 && text.split('.').all(|name| valid_name(name).is_ok());
        match value {
            DeValue::String(text) if fits(text) => Ok(Self(Arc::from(text.as_ref()))),
            _ => Err(Mismatch::default()),
        }
    }
}

impl From<bool> for Permit {
    fn from(accept: bool) -> Self {
        if accept { Self::Accept } else { Self::Refuse }
    }
}

/// Words that a key accepts, each for a value of the type.
macro_rules! choice {
    ($Type:ty, $first:literal => $first_value:expr $(, $word:literal => $value:expr)* $(,)?) => {
        impl Scalar for $Type {
            fn accepts() -> String {
                any_of(&[concat!("\"", $first, "\"") $(, concat!("\"", $word, "\""))*])
            }

            fn example() -> &'static str {
                concat!("\"", $first, "\"")
            }

            fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
                let DeValue::String(text) = value else { return Err(Mismatch::default()) };
                match text.as_ref() {
                    $first => Ok($first_value),
                    $( $word => Ok($value), )*
                    other => match nearest(other, [$first $(, $word)*]) {
                        Some(word) => Err(Mismatch::meant(format!("\"{word}\""))),
                        None => Err(Mismatch::default()),
                    },
                }
            }
        }
    };
}

choice!(ClientTlsMode, "require" => Self::Require, "allow" => Self::Allow, "verify-client" => Self::VerifyClient);
choice!(TlsVersion, "1.2" => Self::V12, "1.3" => Self::V13);
choice!(
    LogLevel,
    "info" => Self::Info,
    "error" => Self::Error,
    "warn" => Self::Warn,
    "debug" => Self::Debug,
    "trace" => Self::Trace,
);
choice!(LogFormat, "auto" => Self::Auto, "pretty" => Self::Pretty, "json" => Self::Json);
choice!(PoolMode, "transaction" => Self::Transaction, "session" => Self::Session);
choice!(SessionState, "pin" => Self::Pin, "refuse" => Self::Refuse);
choice!(
    ServerTlsMode,
    "prefer" => Self::Prefer,
    "disable" => Self::Disable,
    "require" => Self::Require,
    "verify-full" => Self::VerifyFull,
);
choice!(Durability, "group" => Self::Group, "strict" => Self::Strict, "relaxed" => Self::Relaxed);
choice!(OnFailure, "block" => Self::Block, "refuse" => Self::Refuse);
choice!(Shipped, "marker" => Self::Marker, "unneeded" => Self::Unneeded);
choice!(Values, "omit" => Self::Omit, "hash" => Self::Hash, "clear" => Self::Clear);
choice!(WeakAuth, "md5" => Self::Md5, "cleartext" => Self::Cleartext);
choice!(IsolationWord, "row" => Self::Row, "schema" => Self::Schema, "database" => Self::Database);
choice!(ContextWord, "sealed" => Self::Sealed, "setting" => Self::Setting);
choice!(RewriteWord, "off" => Self::Off, "tables" => Self::Tables, "all" => Self::All);
choice!(KeyType, "bigint" => Self::Bigint, "int" => Self::Int, "uuid" => Self::Uuid, "text" => Self::Text);
choice!(
    BaseRole,
    "reader" => Self::Reader,
    "writer" => Self::Writer,
    "owner" => Self::Owner,
    "operator" => Self::Operator,
);
