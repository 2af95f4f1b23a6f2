//! One certificate, from the first question to the last file.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use signal::WebClient;

use super::{Acme, Store};
use crate::relay::tls::Challenges;

/// How long the authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// Why there is no certificate.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// Whether the authority said no: it does not want to be asked again soon.
    pub(super) refused: bool,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let refused = matches!(error, Error::Api(_));
        let why = match error {
            Error::Other(error) => error.to_string(),
            error => error.to_string(),
        };
        Self { why, refused }
    }
}

impl Trouble {
    /// Something of this machine.
    fn here(error: &dyn std::fmt::Display) -> Self {
        Self { why: error.to_string(), refused: false }
    }

    fn refused(why: String) -> Self {
        Self { why, refused: true }
    }
}

/// Has a certificate made, and keeps it.
pub(super) async fn obtain(
    acme: &Acme,
    store: &Store,
    web: WebClient,
    challenges: &Challenges,
) -> Result<(), Trouble> {
    let account = account(acme, store, web).await?;
    let names: Vec<Identifier> = acme.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(|error| {
        if matches!(&error, Error::Api(problem) if is(problem, "accountDoesNotExist")) {
            store.forget_account();
        }
        Trouble::from(error)
    })?;
    let proved = prove(&mut order, challenges).await;
    challenges.clear();
    proved?;
    let key = rcgen::KeyPair::generate().map_err(|error| Trouble::here(&error))?;
    let mut wanted =
        rcgen::CertificateParams::new(acme.domains.clone()).map_err(|error| Trouble::here(&error))?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    let wanted = wanted.serialize_request(&key).map_err(|error| Trouble::here(&error))?;
    order.finalize_csr(wanted.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    store.keep_certificate(&(key.serialize_pem() + &chain)).map_err(|error| Trouble::here(&error))
}

/// The account of another time, or a new one.
async fn account(acme: &Acme, store: &Store, web: WebClient) -> Result<Account, Trouble> {
    let builder = Account::builder_with_http(Box::new(Web(web)));
    if let Some(known) = store.account().and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(builder.from_credentials(known).await?);
    }
    let contact: Vec<String> = acme.email.iter().map(|email| format!("mailto:{email}")).collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    // That they are accepted was said by who runs the server.
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&wanted, acme.directory.clone(), None).await?;
    let json = serde_json::to_string(&credentials).map_err(|error| Trouble::here(&error))?;
    store.keep_account(&json).map_err(|error| Trouble::here(&error))?;
    Ok(account)
}

/// Shows the authority that the names are this server's.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<(), Trouble> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => return Err(Trouble::refused(format!("the authority calls the name {other:?}"))),
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(Trouble::refused(format!(
                "the authority does not look by TLS (tls-alpn-01) whose {name} is"
            )));
        };
        let answer = challenge.key_authorization().digest().as_ref().to_vec();
        challenges.put(&name, &answer).map_err(|error| Trouble::here(&error))?;
        challenge.set_ready().await?;
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(status) => {
            Err(refusal(order).await.unwrap_or_else(|| Trouble::refused(format!("the order is {status:?}"))))
        }
        Err(error) => Err(refusal(order).await.unwrap_or_else(|| error.into())),
    }
}

/// What the authority saw when it looked.
async fn refusal(order: &mut Order) -> Option<Trouble> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let name = authorization.identifier().to_string();
        let seen = authorization.refresh().await.ok()?;
        let problem = seen.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let what = problem.detail.clone().unwrap_or_else(|| problem.to_string());
            return Some(Trouble::refused(format!(
                "the authority could not see that {name} is this server: {what}. It connects to port 443 there, by TLS"
            )));
        }
    }
    None
}

fn is(problem: &instant_acme::Problem, kind: &str) -> bool {
    problem.r#type.as_deref().is_some_and(|found| found.ends_with(kind))
}

/// What the client of ACME asks by.
struct Web(WebClient);

impl HttpClient for Web {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let web = self.0.clone();
        Box::pin(async move {
            let answer = web.send(request).await.map_err(|error| Error::Other(Box::new(error)))?;
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}
