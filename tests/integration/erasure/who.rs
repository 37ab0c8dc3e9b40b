//! Who may erase whom, and under which pseudonyms people are found.

use assent::{ingress::client::ClientError, pipeline::PseudonymKey};
use tonic::Code;

use super::*;

fn code<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Code {
    match answer.unwrap_err() {
        ClientError::Status(status) => status.code(),
        other => panic!("a status, not {other}"),
    }
}

fn sha256(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn only_a_privacy_key_of_the_tenant_erases_and_reads() {
    let database = database().await;
    let tenant = |name: &str| {
        let (api, privacy) = (sha256(&format!("{name}-api")), sha256(&format!("{name}-privacy")));
        format!(
            "[[tenants]]\nname = \"{name}\"\napi_key_sha256 = [\"{api}\"]\nprivacy_key_sha256 = [\"{privacy}\"]\n"
        )
    };
    let setup = Setup::new(&database).config(&format!("{SOON}{}{}", tenant("acme"), tenant("beta")));
    let collector = setup.start_ready().await;
    let acme = collector.client_with_key("acme-api").await;
    acme.collect(vec![event("ann").build()]).await.unwrap();
    collector.client_with_key("beta-api").await.collect(vec![event("ann").build()]).await.unwrap();
    database.wait_for_rows(2).await;

    let nothing = |_: &[u8]| Ok::<(), ClientError>(());
    assert_eq!(code(acme.erase_user(request("ann")).await), Code::PermissionDenied);
    assert_eq!(code(acme.report_subject("ann".to_owned(), nothing).await), Code::PermissionDenied);
    let nobody = collector.client().await;
    assert_eq!(code(nobody.erase_user(request("ann")).await), Code::Unauthenticated);
    assert_eq!(code(nobody.report_subject("ann".to_owned(), nothing).await), Code::Unauthenticated);
    assert_eq!(database.count("erasures").await, 0);

    // A person of the same id of another tenant is another person.
    let beta = collector.client_with_key("beta-privacy").await;
    let erasure = beta.erase_user(request("ann")).await.unwrap();
    let acme = collector.client_with_key("acme-privacy").await;
    assert_eq!(code(acme.get_erasure(erasure.erasure_id.clone()).await), Code::NotFound);
    assert_eq!(code(acme.get_erasure("no".to_owned()).await), Code::InvalidArgument);
    eventually("a completed erasure", || async {
        let now = beta.get_erasure(erasure.erasure_id.clone()).await.unwrap();
        (now.state == ErasureState::Completed as i32).then_some(())
    })
    .await;
    assert_eq!(database.count("events WHERE tenant = 'acme'").await, 1);
    assert_eq!(database.count("events WHERE tenant = 'beta'").await, 0);
    let mut read = Vec::new();
    acme.report_subject::<ClientError>("ann".to_owned(), |piece| {
        read.extend_from_slice(piece);
        Ok(())
    })
    .await
    .unwrap();
    let read: serde_json::Value = serde_json::from_slice(&read).unwrap();
    assert_eq!(read["tables"]["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_person_is_erased_under_every_key_of_the_ring() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let collector = setup.start_ready().await;
    grant(&collector, "ann").await;
    let old = collector.send(vec![event("ann"), event("ben")]).await;
    database.wait_for(&old).await;
    let under_old = subject_of(&collector, "ann").await;
    assert!(collector.terminate().await.success());

    let file = setup.data_dir().join("keys/pseudonym.key");
    let old_key = std::fs::read_to_string(&file).unwrap();
    let new_key = PseudonymKey::generate().unwrap().to_text();
    std::fs::write(&file, format!("{}{old_key}", *new_key)).unwrap();
    let collector = setup.start_ready().await;
    let under_new = subject_of(&collector, "ann").await;
    assert_ne!(under_old, under_new);
    let new = collector.send(vec![event("ann"), event("ben")]).await;
    database.wait_for(&new).await;
    let erasure = erase(&collector, "ann").await;
    let done = forgotten(&collector, &erasure).await;
    assert_eq!(step(&done, "table events"), Some((2, 2)), "{done:?}");
    for subject in [under_old, under_new] {
        for table in ["events", "consent_changes", "erasure_subjects"] {
            assert_eq!(rows_of(&database, table, subject).await, 0, "{table}");
        }
    }
    assert_eq!(database.count("events").await, 2);
}
