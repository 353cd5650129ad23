//! What a session claims of a backend: whose it is to be, and as which tenant the server is to see it.
//!
//! Under a sealed context the server's session holds its tenant where only a definer function can change it. A backend
//! enters a tenant only from *nobody*: after it was cleaned, which takes tenant and nonce away, and `hello()` drew a new
//! nonce. An `enter` that fails in any way, or answers with another tenant than was asked for, closes the backend. The token
//! goes over the wire as a Bind parameter of an unnamed statement, and nothing of another session is sent before the answer.
//!
//! A hot standby has no such state. There a tenant is entered in each transaction anew, by the session that begins it
//! (`session::sealing`), with a token that lasts for seconds of the server's own clock, which is asked for once.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::time::Instant;

use super::backend::{Backend, BackendClose};
use super::exchange::{ExchangeError, Rows};
use super::lend::{Bound, EXCHANGE_TIMEOUT};
use crate::config::{Account, ContextKind};
use crate::seal::{self, Sealer};
use crate::settings::push_literal;
use crate::sql::{DiscardTarget, Effect};
use crate::tenant::TenantKey;
use crate::wire::frame;

/// See the module's documentation.
#[derive(Debug)]
pub struct Claim {
    pub owner: Arc<str>,
    pub context: TenantContext,
}

/// How the server learns whose rows a session may see.
#[derive(Debug)]
pub enum TenantContext {
    /// By role or database, or there are no tenants.
    Absent,
    Sealed {
        sealer: Sealer,
        tenant: TenantKey,
    },
    /// A plain setting: its name and the tenant's key.
    Setting {
        name: Arc<str>,
        tenant: TenantKey,
    },
    /// Configured in a way that cannot be used: nothing is lent.
    Unusable,
}

/// What is known of the context of a server's session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entered {
    /// It is the owner's tenant.
    pub tenant: bool,
    pub(super) seal: Option<Seal>,
}

/// What a sealed session answered when it was greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// It is nobody's, or the owner's tenant's, under this nonce and after so many turns.
    Session(Nonce),
    /// Each of its transactions is nobody's until it is entered.
    Transactions(Clock),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce {
    nonce: i64,
    turn: i64,
}

/// What the server's clock was at a moment of ours, in seconds of the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    server: i64,
    at: Instant,
}

/// How long a token for a transaction is good, in seconds: what the server may take to come to it.
const TOKEN_SECONDS: i64 = 30;

impl Clock {
    fn expires(self) -> i64 {
        let elapsed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.server.saturating_add(elapsed).saturating_add(TOKEN_SECONDS)
    }
}

impl TenantContext {
    pub(super) fn is_needed(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Sealed { .. } | Self::Setting { .. } | Self::Unusable => true,
        }
    }

    /// The server forgets the context by this.
    pub(super) fn is_dropped_by(&self, effect: &Effect) -> bool {
        let all = matches!(effect, Effect::DiscardAll | Effect::Discard(DiscardTarget::All));
        match self {
            Self::Absent => false,
            Self::Sealed { .. } | Self::Unusable => all || matches!(effect, Effect::Discard(DiscardTarget::Sequences)),
            Self::Setting { .. } => all || matches!(effect, Effect::ResetAll),
        }
    }
}

impl Claim {
    pub fn new(account: &Account) -> Self {
        let context = match account.row() {
            None => TenantContext::Absent,
            Some((row, key)) => match &row.context {
                ContextKind::Setting(name) => TenantContext::Setting { name: name.clone(), tenant: key.clone() },
                ContextKind::Sealed(keys) => match keys.first().map(Sealer::new) {
                    Some(Ok(sealer)) => TenantContext::Sealed { sealer, tenant: key.clone() },
                    Some(Err(_)) | None => TenantContext::Unusable,
                },
            },
        };
        Self { owner: account.owner().clone(), context }
    }

    /// What makes a cleaned session ready for [`Backend::enter`].
    pub(super) fn hello(&self, backend: &Backend) -> Option<&'static str> {
        matches!(self.context, TenantContext::Sealed { .. }).then(|| backend.hello())
    }

    /// The backend is this claim's already: nothing has to be said to it.
    pub(super) fn holds(&self, backend: &Backend) -> bool {
        let entered = !self.context.is_needed() || backend.entered.tenant;
        // Mostly one and the same text, which need not be looked at then.
        let is_owners = |owner: &Arc<str>| Arc::ptr_eq(owner, &self.owner) || *owner == self.owner;
        entered && !backend.unclean && backend.owner.as_ref().is_some_and(is_owners)
    }
}

impl Backend {
    /// Takes on the claim's tenant. The backend carries nothing of another owner's.
    pub(super) async fn enter(&mut self, claim: &Claim) -> Result<(), ExchangeError> {
        if self.entered.tenant {
            return Ok(());
        }
        match &claim.context {
            TenantContext::Absent => return Ok(()),
            TenantContext::Unusable => return Err(ExchangeError::Context("the seal's key cannot be used")),
            TenantContext::Setting { name, tenant } => {
                let mut sql = String::from("SELECT pg_catalog.set_config(");
                push_literal(&mut sql, name);
                sql.push(',');
                push_literal(&mut sql, tenant.as_str());
                sql.push_str(",false)");
                let rows = self.exchange(&sql, EXCHANGE_TIMEOUT).await?;
                if only_value(&rows) != Some(tenant.as_str()) {
                    return Err(ExchangeError::Context("the server did not take the tenant's setting"));
                }
            }
            TenantContext::Sealed { sealer, tenant } => {
                let seal = match self.entered.seal {
                    Some(seal) => seal,
                    None => self.say_hello().await?,
                };
                match seal {
                    Seal::Session(nonce) => self.enter_session(sealer, tenant, nonce).await?,
                    Seal::Transactions(_) => {}
                }
            }
        }
        self.entered.tenant = true;
        Ok(())
    }

    async fn enter_session(
        &mut self,
        sealer: &Sealer,
        tenant: &TenantKey,
        Nonce { nonce, turn }: Nonce,
    ) -> Result<(), ExchangeError> {
        let turn = turn + 1;
        // Whatever happens, this turn is used.
        self.entered.seal = Some(Seal::Session(Nonce { nonce, turn }));
        let token = sealer.token(tenant, seal::Session { pid: self.pid, nonce, turn });
        let mut out = BytesMut::with_capacity(ENTER.len() + 192);
        put_enter(&mut out, ENTER, sealer.epoch(), tenant, turn, &token);
        put_message(&mut out, b'S', |_| {});
        let answers = self.exchange_messages(&out, 1, EXCHANGE_TIMEOUT).await?;
        if answers.last().and_then(only_value) != Some(tenant.as_str()) {
            return Err(ExchangeError::Context("the server entered another tenant than was asked for"));
        }
        Ok(())
    }

    /// By what the server says of itself, now and whenever that changes: a standby keeps no state of a session.
    fn is_standby(&self) -> bool {
        self.parameters.get(IN_HOT_STANDBY).is_some_and(|value| **value == *"on")
    }

    fn hello(&self) -> &'static str {
        if self.is_standby() { CLOCK } else { HELLO }
    }

    /// Makes the session nobody's, under a new nonce; or asks for the time, where no session is anybody's.
    async fn say_hello(&mut self) -> Result<Seal, ExchangeError> {
        let rows = self.exchange(self.hello(), EXCHANGE_TIMEOUT).await?;
        self.take_hello(&rows)
    }

    /// Notes the answer.
    pub(super) fn take_hello(&mut self, rows: &Rows) -> Result<Seal, ExchangeError> {
        let number = only_value(rows).and_then(|number| number.parse().ok());
        let number = number.ok_or(ExchangeError::Context("the server's hello is no number"))?;
        let seal = if self.is_standby() {
            Seal::Transactions(Clock { server: number, at: Instant::now() })
        } else {
            Seal::Session(Nonce { nonce: number, turn: 0 })
        };
        self.entered.seal = Some(seal);
        Ok(seal)
    }

    /// The server has become what it was not: a standby that was promoted keeps its sessions, and knows no tenant in them
    /// any more. The transaction under way fails at that; the next one is another backend's.
    pub(super) fn note_standby(&mut self) {
        if self.entered.seal.is_some() {
            self.close_after.get_or_insert(BackendClose::NotClean);
        }
    }

    /// The context is gone, or may be: it must be entered again before anything else is sent.
    pub fn lose_context(&mut self) {
        self.entered = Entered::default();
    }
}

impl Bound {
    /// The server sees a transaction as the session's tenant only where it was entered.
    pub fn enters_by_transaction(&self) -> bool {
        matches!(self.entered.seal, Some(Seal::Transactions(_)))
    }

    /// Appends a Parse, a Bind, an Execute and a Close that make the transaction the session's tenant's.
    pub fn put_enter_transaction(&self, out: &mut BytesMut) {
        if let (TenantContext::Sealed { sealer, tenant }, Some(Seal::Transactions(clock))) =
            (&self.claim().context, self.entered.seal)
        {
            let expires = clock.expires();
            let token = sealer.transaction_token(tenant, self.pid(), expires);
            put_enter(out, ENTER_TRANSACTION, sealer.epoch(), tenant, expires, &token);
        }
    }

    /// Whether this row, the server's answer, names the session's tenant.
    pub fn has_entered(&self, row: &[u8]) -> bool {
        match (&self.claim().context, frame::data_row(row).as_deref()) {
            (TenantContext::Sealed { tenant, .. }, Ok([Some(entered)])) => *entered == tenant.as_str().as_bytes(),
            (_, _) => false,
        }
    }
}

/// `enter` or its like by an unnamed statement, which does not stay for whoever comes next.
fn put_enter(out: &mut BytesMut, sql: &str, epoch: u32, tenant: &TenantKey, number: i64, token: &[u8; 32]) {
    put_message(out, b'P', |out| {
        out.put_u8(0);
        out.put_slice(sql.as_bytes());
        out.put_slice(b"\0\0\0");
    });
    put_message(out, b'B', |out| {
        // Unnamed portal and statement; the token alone is binary.
        out.put_slice(b"\0\0\0\x04\0\0\0\0\0\0\0\x01\0\x04");
        for value in [epoch.to_string().as_bytes(), tenant.as_str().as_bytes(), number.to_string().as_bytes(), token] {
            out.put_u32(value.len() as u32);
            out.put_slice(value);
        }
        out.put_slice(b"\0\0");
    });
    put_message(out, b'E', |out| out.put_slice(b"\0\0\0\0\0"));
    put_message(out, b'C', |out| out.put_slice(b"S\0"));
}

fn put_message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let at = out.len();
    out.put_u32(0);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Reported by every server that is 14 or later, at login and when it changes.
pub(super) const IN_HOT_STANDBY: &str = "in_hot_standby";

/// Nobody, and a new nonce.
const HELLO: &str = "SELECT pgwarden.hello()";

/// The server's clock.
const CLOCK: &str = "SELECT pg_catalog.date_part('epoch',pg_catalog.clock_timestamp())::pg_catalog.int8";

/// Types are named, so that no overload in another schema is chosen.
const ENTER: &str =
    "SELECT pgwarden.enter($1::pg_catalog.int4,$2::pg_catalog.text,$3::pg_catalog.int8,$4::pg_catalog.bytea)";
const ENTER_TRANSACTION: &str = "SELECT pgwarden.enter_transaction($1::pg_catalog.int4,$2::pg_catalog.text,\
                                 $3::pg_catalog.int8,$4::pg_catalog.bytea)";

fn only_value(rows: &Rows) -> Option<&str> {
    match rows.as_slice() {
        [row] => match row.as_slice() {
            [value] => value.as_deref(),
            _ => None,
        },
        _ => None,
    }
}
