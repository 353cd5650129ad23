//! From an authenticated client to a session: a seat in a pool, settings that the server has taken, the greeting.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::time::Instant;

use super::auditing::Trail;
use super::context::{APPLICATION_NAME, Context, Greeting};
use super::errors::{ContextRefused, QUOTING, QuotingOff, WallReport};
use super::gathering::Gathering;
use super::handle::Handle;
use super::readable::Readable;
use super::sealing::Sealing;
use super::steps::seat_for;
use super::{Client, Flow, Pass, Portals, Session, Told, encode_as};
use crate::auth::LoggedIn;
use crate::config::Account;
use crate::fault::{Report, Severity};
use crate::net::Stream;
use crate::pool::{BindError, LeaseError, Seat};
use crate::record::Who;
use crate::reply::ReplyQueue;
use crate::route::route;
use crate::settings::Settings;
use crate::wire::CancelKey;
use crate::wire::frame::TxStatus;
use crate::wire::message::{self, Readiness};

/// Backends that may turn out to be unusable before a login fails.
const TRIES: usize = 3;

impl Session {
    /// Greets a client and makes its session. `Err`: it was told why not, as far as `pending` in the stream goes.
    ///
    /// This is not cancel safe: a dropped login closes the connection.
    pub async fn start(
        context: Rc<Context>,
        handle: Rc<Handle>,
        logged_in: LoggedIn,
        account: Arc<Account>,
        key: &CancelKey,
        who: Option<Rc<Who>>,
    ) -> Result<Self, (Stream, BytesMut)> {
        let LoggedIn { stream, settings, application_name, pending, received, .. } = logged_in;
        let rules = context.rules();
        let mut out = pending;
        let Some(seat) = seat_for(&context, &account) else {
            out.extend_from_slice(&encode_as(&LeaseError::Retired, Severity::Fatal));
            return Err((stream, out));
        };
        if settings.iter().any(|(name, value)| **name == *QUOTING && !is_on(value)) {
            out.extend_from_slice(&encode_as(&QuotingOff, Severity::Fatal));
            return Err((stream, out));
        }
        if let Err(report) = wall_stands(&context, &account).await {
            out.extend_from_slice(&encode_as(&report, Severity::Fatal));
            return Err((stream, out));
        }
        let place = rules.topology.place(&account.database, route(None, TxStatus::Idle));
        let node = || place.as_ref().map_or_else(String::new, |place| place.node.address.to_string());
        let trail = who.map(|who| Box::new(Trail::new(who, &node())));
        let subject = rules.policy.subject_of(&account);
        let refused =
            settings.iter().find_map(|(name, value)| rules.policy.allows_setting(&subject, name, value).err());
        if let Some(refusal) = refused {
            out.extend_from_slice(&encode_as(&refusal, Severity::Fatal));
            return Err((stream, out));
        }
        let greeting = match greeting(&context, &seat, settings).await {
            Ok(greeting) => greeting,
            Err(report) => {
                out.extend_from_slice(&encode_as(&*report, Severity::Fatal));
                return Err((stream, out));
            }
        };
        let settings = greeting.with_application_name(&application_name);
        for (name, value) in greeting.parameters.iter().filter(|(name, _)| &**name != APPLICATION_NAME) {
            message::parameter_status(&mut out, name, value);
        }
        message::parameter_status(&mut out, APPLICATION_NAME, &application_name);
        message::backend_key_data(&mut out, key.pid, &key.secret);
        message::ready_for_query(&mut out, Readiness::Idle);
        handle.note_settings(&settings);
        let told = Told { greeting: greeting.parameters.clone(), application_name, since: Default::default() };
        Ok(Self {
            told,
            context,
            rules,
            handle,
            client: Client {
                stream,
                unread: if received.is_empty() { BytesMut::new() } else { received },
                unsent: out,
                passing: 0,
                pass: Pass::Discard,
            },
            pool_mode: account.pool().mode,
            account,
            subject,
            seat,
            startup: settings.clone(),
            settings,
            named: Default::default(),
            changes: Default::default(),
            unnamed: None,
            portals: Portals::default(),
            bound: None,
            lease: None,
            queue: ReplyQueue::default(),
            flow: Flow::Open,
            touched: None,
            sealing: Sealing::default(),
            pins: Default::default(),
            denied: None,
            failed: false,
            syntax_error: false,
            reshapes: false,
            began_at: None,
            meter: None,
            paid: false,
            draining: false,
            from_client: Readable::default(),
            from_server: Readable::default(),
            gathering: Gathering::default(),
            seen_unread: 0,
            analysed: None,
            trail,
            settle_next: false,
        })
    }
}

/// A tenant is served where the database's wall was looked at and stands. At the start the first look may take a moment.
async fn wall_stands(context: &Context, account: &Account) -> Result<(), WallReport> {
    if context.keeps_apart(account).is_none() {
        let patience = context.rules().config.server.login_timeout;
        // What came of it is asked below.
        let _ = tokio::time::timeout(patience, context.walls.seen(&account.database.name)).await;
    }
    match context.keeps_apart(account) {
        Some(true) => Ok(()),
        Some(false) => Err(WallReport::Open),
        None => Err(WallReport::Unseen),
    }
}

/// One of PostgreSQL's spellings of true: whatever else it is, it is not what we need.
fn is_on(value: &str) -> bool {
    ["on", "true", "yes", "1"].iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// What the server says to a session with these settings: known already, or asked of a backend, which also tries them.
async fn greeting(
    context: &Context,
    seat: &Seat,
    startup: Vec<(Arc<str>, Arc<str>)>,
) -> Result<Greeting, Box<dyn Report>> {
    let known = context.greetings.borrow().find(seat.pool().key(), &startup);
    if let Some(greeting) = known {
        return Ok(greeting);
    }
    let values: BTreeMap<_, _> = startup.iter().cloned().collect();
    let settings = if values.is_empty() { Settings::none() } else { Arc::new(Settings::from_values(values)) };
    let mut last = None;
    for _ in 0..TRIES {
        let lease = match seat.try_lease(&settings, Instant::now()) {
            Some(lease) => lease,
            None => match seat.wait() {
                Ok(wait) => wait.await.map_err(|error| Box::new(error) as Box<dyn Report>)?,
                Err(error) => return Err(Box::new(error)),
            },
        };
        match lease.bind(&settings).await {
            Ok(bound) => {
                let parameters = bound.parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                let greeting =
                    context.greetings.borrow_mut().insert(seat.pool().key().clone(), startup, parameters, settings);
                // Nothing was sent but what binding it took.
                if let Some(settled) = ReplyQueue::<()>::default().settled() {
                    bound.release(settled, Instant::now());
                }
                return Ok(greeting);
            }
            Err(error) => {
                if let BindError::Context(_) = &error {
                    tracing::error!(error = %error, "the tenant's context could not be entered");
                }
                let refused = matches!(error, BindError::Settings { .. } | BindError::Context(_));
                last = Some(error);
                if refused {
                    break;
                }
            }
        }
    }
    Err(Box::new(StartupRefused(last)))
}

/// The server did not take the client's startup settings.
struct StartupRefused(Option<BindError>);

impl Report for StartupRefused {
    fn fault(&self) -> crate::fault::Fault {
        crate::fault::Fault::Client
    }

    fn severity(&self) -> Severity {
        Severity::Fatal
    }

    fn sqlstate(&self) -> crate::fault::SqlState {
        match &self.0 {
            Some(BindError::Settings { sqlstate, .. }) => sqlstate
                .as_bytes()
                .try_into()
                .map_or(crate::fault::SqlState::INVALID_PARAMETER_VALUE, crate::fault::SqlState),
            Some(BindError::Context(_)) => ContextRefused.sqlstate(),
            Some(BindError::Backend(_)) | None => crate::fault::SqlState::CONNECTION_FAILURE,
        }
    }

    fn message(&self) -> std::borrow::Cow<'_, str> {
        match &self.0 {
            Some(BindError::Settings { message, .. }) => message.into(),
            Some(BindError::Context(_)) => ContextRefused.message(),
            Some(BindError::Backend(_)) | None => "the connection to the server was lost".into(),
        }
    }
}
