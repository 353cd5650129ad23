//! Tokens that let the database take on a tenant: pure.
//!
//! A token is an HMAC over the epoch of its key, the tenant, a turn that only grows, the server process and a random number
//! that the server drew for its session: it is good for one use in one session. A standby's sessions cannot keep a turn or a
//! number: a token for one of its transactions is over the epoch, the tenant, the server process and a time of expiry.
//! The two kinds begin differently, so that neither passes for the other. The database's side is written by `guard`.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::config::SealKey;
use crate::tenant::TenantKey;

/// Makes tokens under one key.
#[derive(Clone)]
pub struct Sealer {
    epoch: u32,
    mac: Hmac<Sha256>,
}

/// What a token is bound to, in one session of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Process id of the server's session.
    pub pid: i32,
    /// What `pgwarden.hello()` returned.
    pub nonce: i64,
    /// Above that of every token before.
    pub turn: i64,
}

/// A key that is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a key of the seal is 64 hexadecimal digits")]
pub struct KeyFormat;

impl Sealer {
    pub fn new(key: &SealKey) -> Result<Self, KeyFormat> {
        let hex = key.hex.expose().as_bytes();
        let (digits, rest) = hex.as_chunks::<2>();
        if digits.len() != 32 || !rest.is_empty() {
            return Err(KeyFormat);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| KeyFormat)?;
        Ok(Self { epoch: key.epoch, mac })
    }

    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The token for one `pgwarden.enter`.
    pub fn token(&self, tenant: &TenantKey, session: Session) -> [u8; 32] {
        let Session { pid, nonce, turn } = session;
        let mut mac = self.mac.clone();
        mac.update(format!("pgw1|{}|{tenant}|{turn}|{pid}|{nonce}", self.epoch).as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The token for one `pgwarden.enter_transaction`. `expires`: the server's clock, seconds of the epoch.
    pub fn transaction_token(&self, tenant: &TenantKey, pid: i32, expires: i64) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(format!("pgt1|{}|{tenant}|{pid}|{expires}", self.epoch).as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn digit(byte: u8) -> Result<u8, KeyFormat> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(KeyFormat),
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::tenant::KeyType;

    fn sealer(epoch: u32, hex: &str) -> Result<Sealer, KeyFormat> {
        Sealer::new(&SealKey { epoch, hex: Secret::new(hex) })
    }

    #[test]
    fn every_part_of_a_token_counts() {
        let hex = "0b".repeat(32);
        let key = |text| TenantKey::parse(KeyType::Bigint, text).expect("a key");
        let session = Session { pid: 77, nonce: 5, turn: 1 };
        let token = sealer(1, &hex).unwrap().token(&key("42"), session);
        let others = [
            sealer(2, &hex).unwrap().token(&key("42"), session),
            sealer(1, &"0c".repeat(32)).unwrap().token(&key("42"), session),
            sealer(1, &hex).unwrap().token(&key("43"), session),
            sealer(1, &hex).unwrap().token(&key("42"), Session { pid: 78, ..session }),
            sealer(1, &hex).unwrap().token(&key("42"), Session { nonce: 6, ..session }),
            sealer(1, &hex).unwrap().token(&key("42"), Session { turn: 2, ..session }),
        ];
        assert!(others.iter().all(|other| *other != token));
        // Computed by another implementation: HMAC-SHA256 of "pgw1|1|42|1|77|5" under 32 bytes of 0x0b.
        let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "9fb2509f1f7e591ba34a5b39333e264ab1c41b29892f3195098dbd5132d93b14");
    }

    #[test]
    fn every_part_of_a_transactions_token_counts() {
        let hex = "0b".repeat(32);
        let key = |text| TenantKey::parse(KeyType::Bigint, text).expect("a key");
        let token = sealer(1, &hex).unwrap().transaction_token(&key("42"), 77, 5);
        let others = [
            sealer(2, &hex).unwrap().transaction_token(&key("42"), 77, 5),
            sealer(1, &"0c".repeat(32)).unwrap().transaction_token(&key("42"), 77, 5),
            sealer(1, &hex).unwrap().transaction_token(&key("43"), 77, 5),
            sealer(1, &hex).unwrap().transaction_token(&key("42"), 78, 5),
            sealer(1, &hex).unwrap().transaction_token(&key("42"), 77, 6),
            sealer(1, &hex).unwrap().token(&key("42"), Session { pid: 77, nonce: 5, turn: 1 }),
        ];
        assert!(others.iter().all(|other| *other != token));
        // Computed by another implementation: HMAC-SHA256 of "pgt1|1|42|77|5" under 32 bytes of 0x0b.
        let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "d73bd0d34004078c57736f33bacef542862b78fd256c2e51c7fddfdd9660e776");
    }

    #[test]
    fn a_key_has_one_length() {
        assert!(sealer(1, "").is_err() && sealer(1, &"0".repeat(63)).is_err() && sealer(1, &"0".repeat(65)).is_err());
        assert!(sealer(1, &"g".repeat(64)).is_err());
        assert!(!format!("{:?}", sealer(1, &"ab".repeat(32)).unwrap()).contains("ab"));
    }
}
