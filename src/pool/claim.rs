//! What a session claims of a backend: whose it is to be, and as which tenant the server is to see it.
//!
//! Under a sealed context the server's session holds its tenant where only a definer function can change it. A backend
//! enters a tenant only from *nobody*: after it was cleaned, which takes tenant and nonce away, and `hello()` drew a new
//! nonce. An `enter` that fails in any way, or answers with another tenant than was asked for, closes the backend. The token
//! goes over the wire as a Bind parameter of an unnamed statement, and nothing of another session is sent before the answer.

use std::sync::Arc;

use bytes::BufMut;

use super::backend::Backend;
use super::exchange::ExchangeError;
use super::lend::EXCHANGE_TIMEOUT;
use crate::config::{Account, ContextKind};
use crate::seal::{self, Sealer};
use crate::settings::push_literal;
use crate::sql::{DiscardTarget, Effect};
use crate::tenant::TenantKey;

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
    /// Nobody, or the owner's tenant, under this nonce and after so many turns.
    pub(super) seal: Option<Nonce>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce {
    nonce: i64,
    turn: i64,
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
    pub(super) fn hello(&self) -> Option<&'static str> {
        matches!(self.context, TenantContext::Sealed { .. }).then_some(HELLO)
    }

    /// The backend is this claim's already: nothing has to be said to it.
    pub(super) fn holds(&self, backend: &Backend) -> bool {
        let entered = !self.context.is_needed() || backend.entered.tenant;
        entered && !backend.unclean && backend.owner.as_ref() == Some(&self.owner)
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
                let Nonce { nonce, turn } = match self.entered.seal {
                    Some(nonce) => nonce,
                    None => self.say_hello().await?,
                };
                let turn = turn + 1;
                // Whatever happens, this turn is used.
                self.entered.seal = Some(Nonce { nonce, turn });
                let token = sealer.token(tenant, seal::Session { pid: self.pid, nonce, turn });
                let rows = self.exchange_enter(sealer.epoch(), tenant, turn, &token).await?;
                if only_value(&rows) != Some(tenant.as_str()) {
                    return Err(ExchangeError::Context("the server entered another tenant than was asked for"));
                }
            }
        }
        self.entered.tenant = true;
        Ok(())
    }

    /// Makes the session nobody's, under a new nonce.
    async fn say_hello(&mut self) -> Result<Nonce, ExchangeError> {
        let rows = self.exchange(HELLO, EXCHANGE_TIMEOUT).await?;
        self.take_nonce(&rows)
    }

    /// Notes the number that `hello()` drew.
    pub(super) fn take_nonce(&mut self, rows: &super::exchange::Rows) -> Result<Nonce, ExchangeError> {
        let nonce = only_value(rows).and_then(|nonce| nonce.parse().ok());
        let nonce = Nonce { nonce: nonce.ok_or(ExchangeError::Context("hello() drew no number"))?, turn: 0 };
        self.entered.seal = Some(nonce);
        Ok(nonce)
    }

    async fn exchange_enter(
        &mut self,
        epoch: u32,
        tenant: &TenantKey,
        turn: i64,
        token: &[u8; 32],
    ) -> Result<super::exchange::Rows, ExchangeError> {
        let mut out = Vec::with_capacity(ENTER.len() + 192);
        let mut message = |tag: u8, body: &dyn Fn(&mut Vec<u8>)| {
            out.put_u8(tag);
            let at = out.len();
            out.put_u32(0);
            body(&mut out);
            let length = (out.len() - at) as u32;
            out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        };
        message(b'P', &|out| {
            out.put_u8(0);
            out.put_slice(ENTER.as_bytes());
            out.put_slice(b"\0\0\0");
        });
        message(b'B', &|out| {
            // Unnamed portal and statement; the token alone is binary.
            out.put_slice(b"\0\0\0\x04\0\0\0\0\0\0\0\x01\0\x04");
            for value in [epoch.to_string().as_bytes(), tenant.as_str().as_bytes(), turn.to_string().as_bytes(), token]
            {
                out.put_u32(value.len() as u32);
                out.put_slice(value);
            }
            out.put_slice(b"\0\0");
        });
        message(b'E', &|out| out.put_slice(b"\0\0\0\0\0"));
        // The statement must not stay for whoever comes next.
        message(b'C', &|out| out.put_slice(b"S\0"));
        message(b'S', &|_| {});
        self.exchange_messages(&out, 1, EXCHANGE_TIMEOUT).await.map(|mut answers| answers.pop().unwrap_or_default())
    }

    /// The context is gone, or may be: it must be entered again before anything else is sent.
    pub fn lose_context(&mut self) {
        self.entered = Entered::default();
    }
}

/// Nobody, and a new nonce.
const HELLO: &str = "SELECT pgwarden.hello()";

/// Types are named, so that no overload in another schema is chosen.
const ENTER: &str =
    "SELECT pgwarden.enter($1::pg_catalog.int4,$2::pg_catalog.text,$3::pg_catalog.int8,$4::pg_catalog.bytea)";

fn only_value(rows: &super::exchange::Rows) -> Option<&str> {
    match rows.as_slice() {
        [row] => match row.as_slice() {
            [value] => value.as_deref(),
            _ => None,
        },
        _ => None,
    }
}
