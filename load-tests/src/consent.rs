//! Has people answer before the first event, through the same service that a settings page uses.

use std::net::SocketAddr;

use anyhow::Context as _;
use assent::ingress::{client::Client, proto};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::generate::{Answer, Person};

/// Changes under way at once.
const AT_ONCE: usize = 16;
const TERMS: &str = "load-test";

/// Records everyone's answer and says how many changes that took. When it returns, each is durable, and holds for
/// every later event.
pub(crate) async fn answer(
    addr: SocketAddr,
    people: &[Person],
    api_key: Option<&str>,
) -> anyhow::Result<usize> {
    let api_key = api_key.map(Into::into);
    let client = Client::connect(&addr.to_string(), api_key.as_ref()).await?;
    // One person's changes go one after the other, since they are ordered.
    stream::iter(people)
        .map(|person| {
            let client = client.clone();
            async move {
                let changes = changes(person);
                let count = changes.len();
                for change in changes {
                    client.set_consent(change).await.context("a change of consent was refused")?;
                }
                anyhow::Ok(count)
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(0, async |sum, count| Ok(sum + count))
        .await
}

fn changes(person: &Person) -> Vec<proto::SetConsentRequest> {
    use proto::{
        ConsentScope::{Affiliates, FirstParty},
        ConsentState::{Denied, Granted},
    };

    let answers: &[_] = match person.answer {
        Answer::Silent => &[],
        Answer::FirstParty => &[(FirstParty, Granted)],
        Answer::Affiliates => &[(FirstParty, Granted), (Affiliates, Granted)],
        Answer::Denied => &[(FirstParty, Denied)],
    };
    answers.iter().map(|&(scope, state)| change(person, scope, state)).collect()
}

/// One answer of a person, as a settings page records it.
pub(crate) fn change(
    person: &Person,
    scope: proto::ConsentScope,
    state: proto::ConsentState,
) -> proto::SetConsentRequest {
    proto::SetConsentRequest {
        user_id: person.user_id.clone(),
        scope: scope.into(),
        state: state.into(),
        policy_version: TERMS.to_owned(),
        source: proto::ConsentSource::UserSetting.into(),
        jurisdiction: person.jurisdiction.to_owned(),
        evidence: "load test".to_owned(),
        actor: "self".to_owned(),
        ..proto::SetConsentRequest::default()
    }
}
