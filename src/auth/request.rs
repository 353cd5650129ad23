//! What a startup packet asks for: user, database, settings. Pure, and it trusts nothing: no key chooses how a client is
//! authenticated.

use std::sync::Arc;

use super::LoginError;
use crate::wire::ProtocolVersion;
use crate::wire::startup::{Startup, parse_options};

/// Names of applications are cut here, as PostgreSQL's are (NAMEDATALEN - 1).
const APPLICATION_NAME_MAX: usize = 63;

/// A startup packet, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub protocol: ProtocolVersion,
    pub settings: Vec<(Arc<str>, Arc<str>)>,
    pub application_name: Arc<str>,
}

impl Request {
    pub fn read(startup: &Startup) -> Result<Self, LoginError> {
        let mut request = Self {
            user: startup.value("user").filter(|user| !user.is_empty()).cloned().ok_or(LoginError::NoUser)?,
            database: "".into(),
            protocol: startup.version(),
            settings: Vec::new(),
            application_name: "".into(),
        };
        let database = startup.value("database").filter(|database| !database.is_empty());
        request.database = database.unwrap_or(&request.user).clone();
        if let Some(replication) = startup.value("replication") {
            refuse_replication(replication)?;
        }
        // PostgreSQL applies `options` first, so the keys win.
        if let Some(options) = startup.value("options") {
            for (name, value) in parse_options(options)? {
                request.set(&name, &value.into())?;
            }
        }
        for (name, value) in &startup.parameters {
            match &**name {
                "user" | "database" | "replication" | "options" => {}
                name => request.set(name, value)?,
            }
        }
        Ok(request)
    }

    fn set(&mut self, name: &str, value: &Arc<str>) -> Result<(), LoginError> {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            // In another spelling, or through `options`, these are no keys of the startup packet: they must not become
            // some again further on.
            "user" | "database" | "replication" | "options" => return Err(LoginError::SettingName(name)),
            name_only if !is_setting_name(name_only) => return Err(LoginError::SettingName(name)),
            "application_name" => self.application_name = clean(value),
            "client_encoding" => {
                let encoding = encoding(value).ok_or_else(|| LoginError::ClientEncoding(value.clone()))?;
                self.settings.push((name.into(), encoding.into()));
            }
            _ => self.settings.push((name.into(), value.clone())),
        }
        Ok(())
    }
}

/// A letter or underscore, then letters, digits, underscores, dollars and dots: nothing that could need quoting.
fn is_setting_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.'))
}

/// The encodings that hide no backslash and no quote in a character, by the spellings that PostgreSQL takes for them:
/// it compares letters and digits only.
fn encoding(value: &str) -> Option<&'static str> {
    let name: String = value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match name.as_str() {
        "utf8" | "unicode" => Some("UTF8"),
        "sqlascii" => Some("SQL_ASCII"),
        _ => None,
    }
}

/// As PostgreSQL keeps it: what is not printable ASCII becomes a question mark.
fn clean(name: &str) -> Arc<str> {
    let printable = |byte: u8| if matches!(byte, 0x20..=0x7e) { char::from(byte) } else { '?' };
    name.bytes().take(APPLICATION_NAME_MAX).map(printable).collect::<String>().into()
}

fn refuse_replication(value: &Arc<str>) -> Result<(), LoginError> {
    if &**value == "database" {
        return Err(LoginError::Replication);
    }
    match boolean(value) {
        Some(true) => Err(LoginError::Replication),
        Some(false) => Ok(()),
        None => Err(LoginError::ReplicationValue(value.clone())),
    }
}

/// PostgreSQL's spellings of a boolean: unique prefixes of true, false, yes, no; on, off; 1, 0.
fn boolean(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let is_prefix = |word: &str| !value.is_empty() && word.starts_with(&value);
    if is_prefix("true") || is_prefix("yes") || value == "on" || value == "1" {
        Some(true)
    } else if is_prefix("false") || is_prefix("no") || value == "of" || value == "off" || value == "0" {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Request, LoginError> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Request::read(&Startup { requested: ProtocolVersion::V3_0, parameters, extensions: Vec::new() })
    }

    fn settings(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut all = vec![("user", "ann")];
        all.extend(parameters);
        let request = read(&all).unwrap();
        request.settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn database_defaults_to_the_user_and_a_user_is_needed() {
        assert_eq!(&*read(&[("user", "ann")]).unwrap().database, "ann");
        assert_eq!(&*read(&[("user", "ann"), ("database", "")]).unwrap().database, "ann");
        assert_eq!(&*read(&[("user", "ann"), ("database", "b")]).unwrap().database, "b");
        assert!(matches!(read(&[]), Err(LoginError::NoUser)));
        assert!(matches!(read(&[("user", "")]), Err(LoginError::NoUser)));
        assert!(matches!(read(&[("USER", "ann")]), Err(LoginError::NoUser)));
    }

    #[test]
    fn settings_come_in_order_options_first() {
        let found = settings(&[
            ("DateStyle", "ISO"),
            ("options", "-c search_path=a,b --Statement-Timeout=5"),
            ("statement_timeout", "7"),
        ]);
        let expected =
            [("search_path", "a,b"), ("statement_timeout", "5"), ("datestyle", "ISO"), ("statement_timeout", "7")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn application_name_is_cleaned_and_no_setting() {
        let request =
            read(&[("user", "a"), ("options", "-c application_name=x"), ("Application_Name", "né\n")]).unwrap();
        assert_eq!(&*request.application_name, "n???");
        assert!(request.settings.is_empty());
        let long = read(&[("user", "a"), ("application_name", &"n".repeat(100))]).unwrap();
        assert_eq!(long.application_name.len(), 63);
    }

    #[test]
    fn only_encodings_that_cannot_hide_a_quote_are_taken() {
        for (value, expected) in
            [("utf8", "UTF8"), ("'utf-8'", "UTF8"), ("Unicode", "UTF8"), ("SQL_ASCII", "SQL_ASCII")]
        {
            assert_eq!(settings(&[("client_encoding", value)]), [("client_encoding".to_owned(), expected.to_owned())]);
        }
        for value in ["SJIS", "GBK", "BIG5", "LATIN1", "", "utf16"] {
            assert!(matches!(read(&[("user", "a"), ("client_encoding", value)]), Err(LoginError::ClientEncoding(_))));
            let options = format!("-c client_encoding={value}");
            assert!(matches!(read(&[("user", "a"), ("options", &options)]), Err(LoginError::ClientEncoding(_))));
        }
    }

    #[test]
    fn replication_is_refused_and_its_absence_is_not() {
        for value in ["true", "T", "on", "yes", "y", "1", "database"] {
            assert!(matches!(read(&[("user", "a"), ("replication", value)]), Err(LoginError::Replication)), "{value}");
        }
        for value in ["false", "F", "off", "of", "no", "0"] {
            assert!(settings(&[("replication", value)]).is_empty(), "{value}");
        }
        for value in ["", "o", "maybe", "DATABASE"] {
            assert!(
                matches!(read(&[("user", "a"), ("replication", value)]), Err(LoginError::ReplicationValue(_))),
                "{value}"
            );
        }
    }

    #[test]
    fn reserved_keys_and_odd_names_cannot_become_settings() {
        for name in ["REPLICATION", "User", "DATABASE", "Options", "a b", "a;b", "a\"b", "1a", ".a", "é", "a'"] {
            assert!(matches!(read(&[("user", "a"), (name, "true")]), Err(LoginError::SettingName(_))), "{name}");
        }
        for options in ["-c replication=true", "--user=x", "-c a'b=1"] {
            assert!(
                matches!(read(&[("user", "a"), ("options", options)]), Err(LoginError::SettingName(_))),
                "{options}"
            );
        }
        assert_eq!(settings(&[("App.Tenant_1", "x")]), [("app.tenant_1".to_owned(), "x".to_owned())]);
    }
}
