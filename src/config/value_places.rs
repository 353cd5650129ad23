//! Places that the audit's checkpoints and records are sent to.

use std::path::PathBuf;
use std::sync::Arc;

use toml::de::DeValue;

use crate::config::read::{Mismatch, Scalar};
use crate::config::{CopyTo, SinkTo};

impl Scalar for CopyTo {
    fn accepts() -> String {
        "a directory's path, an http:// or https:// URL, or syslog: with a path or an address and port".to_owned()
    }

    fn example() -> &'static str {
        r#""/mnt/elsewhere""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let DeValue::String(text) = value else { return Err(Mismatch::default()) };
        if text.chars().any(char::is_control) {
            return Err(Mismatch::default());
        }
        if let Some(rest) = text.strip_prefix("syslog:") {
            if rest.starts_with('/') {
                return Ok(Self::SyslogUnix(PathBuf::from(rest)));
            }
            let address = rest.parse().map_err(|_| Mismatch::note("an IP address and a port, or an absolute path"))?;
            return Ok(Self::SyslogUdp(address));
        }
        let has_host = |scheme| text.strip_prefix(scheme).is_some_and(|rest: &str| !rest.is_empty());
        if (has_host("http://") || has_host("https://")) && !text.contains(char::is_whitespace) {
            return Ok(Self::Http(Arc::from(text.as_ref())));
        }
        if text.starts_with('/') {
            return Ok(Self::Directory(PathBuf::from(text.as_ref())));
        }
        Err(Mismatch::note("paths are absolute here"))
    }
}

impl Scalar for SinkTo {
    fn accepts() -> String {
        "tcp:HOST:PORT, tls:HOST:PORT or unix: with a path".to_owned()
    }

    fn example() -> &'static str {
        r#""tls:collector.example.com:6514""#
    }

    fn parse(value: &DeValue<'_>) -> Result<Self, Mismatch> {
        let DeValue::String(text) = value else { return Err(Mismatch::default()) };
        if text.chars().any(|char| char.is_control() || char.is_whitespace()) {
            return Err(Mismatch::default());
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(Mismatch::default)?;
        if scheme == "unix" {
            let path = PathBuf::from(rest);
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(Mismatch::note("paths are absolute here"))
            };
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| Mismatch::note("a host and a port"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| Mismatch::note("a host and a port"))?;
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(Mismatch::note("IPv6 addresses go in brackets"));
        }
        let host = Arc::from(bare.unwrap_or(host));
        match scheme {
            "tcp" => Ok(Self::Tcp { host, port }),
            "tls" => Ok(Self::Tls { host, port }),
            _ => Err(Mismatch::default()),
        }
    }
}
