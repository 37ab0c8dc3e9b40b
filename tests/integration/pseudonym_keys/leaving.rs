//! The old key's end: consent is copied under the new one, and the old one is retired.

use super::*;

#[tokio::test]
async fn a_key_is_not_done_without_before_it_is_retired() {
    let database = Database::new().await;
    let (keys, base) = (Keys::make(), Setup::new(&database).policy("mixed-jurisdictions.toml"));
    let collector = keys.only_old(&base).start_ready().await;
    let client = collector.client().await;
    client.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();
    client.set_consent(change("gone", FIRST, ConsentState::Denied)).await.unwrap();
    let of_old = stamp_of(&database, &collector, "ann").await;
    assert_eq!(of_old.1, "denied");
    let ids = collector.send(vec![event("silent").jurisdiction("US")]).await;
    database.wait_for(&ids).await;
    assert_eq!(shown(&database).await, 1);
    // While no other key is in use, none can go.
    assert!(stderr(&retire(&database, &base, &keys, "9")).contains("no collector stamps with another key"));
    assert!(collector.terminate().await.success());

    // Too early: nobody's no would be known.
    let us = |user: &str| event(user).jurisdiction("US");
    let early = keys.only_new(&base).start().await;
    eventually("it to be said", || async { base.log().contains("does not hold").then_some(()) }).await;
    let ids = early.send(vec![us("ann"), us("gone"), us("new")]).await;
    for row in database.wait_for(&ids).await {
        assert_eq!(row.scope, "none", "{row:?}");
    }
    assert_eq!(
        refused(&early.client().await, change("ann", FIRST, ConsentState::Granted)).await,
        tonic::Code::FailedPrecondition
    );
    early.kill();

    let collector = keys.new_first(&base).start_ready().await;
    assert!(stderr(&retire(&database, &base, &keys, "0")).contains("--leaving-behind 2"));
    let said = rekey(&database, &base, &keys, "ann\nnobody-at-all\n");
    assert!(said.contains("2 people listed, 1 of them with consent"), "{said}");
    assert!(said.contains("1 changes copied, 0 were there already"), "{said}");
    assert!(
        said.contains(&format!("key {}  in use, 2 people, 1 of them under no other key", keys.old.id())),
        "{said}"
    );
    assert!(stderr(&retire(&database, &base, &keys, "0")).contains("--leaving-behind 1"));
    let done = retire(&database, &base, &keys, "1");
    assert!(done.status.success(), "{done:?}");
    // Nobody's no reaches rows of that key any more.
    assert_eq!(shown(&database).await, 0);
    // The collector goes on with the ring that has it, and starts without it.
    assert_eq!(stamp_of(&database, &collector, "ann").await.1, "denied");
    assert!(collector.terminate().await.success());
    let collector = keys.only_new(&base).start_ready().await;
    let ids = collector.send(vec![us("ann"), us("silent")]).await;
    let rows = database.wait_for(&ids).await;
    assert_eq!(
        [rows[0].stamp(), rows[1].stamp()],
        [("none", "denied"), ("first_party", "granted_by_default")]
    );
    let client = collector.client().await;
    assert_eq!(versions_of(&client, "ann", 100).await, [1]);
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    assert_eq!(stamp_of(&database, &collector, "ann").await.1, "granted");
    // Who has not heard of it yet stamps with it no longer.
    let other = Setup::new(&database);
    let late = keys.new_second(&other).start().await;
    eventually("it to be said", || async { other.log().contains("ring is retired").then_some(()) }).await;
    let ids = late.send(vec![us("silent")]).await;
    assert_eq!(database.wait_for(&ids).await[0].scope, "none");
    assert_eq!(
        refused(&late.client().await, change("ann", FIRST, ConsentState::Granted)).await,
        tonic::Code::FailedPrecondition
    );
}

#[tokio::test]
async fn rekeying_copies_everything_once_and_goes_on_after_a_kill() {
    const PEOPLE: usize = 2_000;
    let database = Database::new().await;
    let (keys, base) = (Keys::make(), Setup::new(&database));
    let collector = keys.only_old(&base).start_ready().await;
    let client = collector.client().await;
    for user in ["ann", "ben"] {
        for state in [ConsentState::Granted, ConsentState::Denied, ConsentState::Granted] {
            client.set_consent(change(user, FIRST, state)).await.unwrap();
        }
    }
    client.set_consent(change("ann", ConsentScope::Affiliates, ConsentState::Denied)).await.unwrap();
    assert!(collector.terminate().await.success());
    // Many more, with pseudonyms as the old key makes them.
    let subjects = assent::pipeline::Pseudonymiser::new(&keys.old);
    let tenant = assent::event::Tenant::new("local");
    let mut rows = String::new();
    for n in 0..PEOPLE {
        let user = format!("user-{n}");
        let subject = subjects.subjects(&tenant, assent::event::RawUserId::new(&user)).current();
        rows.push_str(&format!(
            "{{\"tenant\":\"local\",\"subject_id\":\"{subject}\",\"scope\":\"first_party\",\"state\":\"denied\",\
             \"consent_version\":1,\"consent_id\":\"{}\",\"pseudonym_key_id\":\"{}\",\
             \"recorded_at\":\"2026-01-02 03:04:05.678901\"}}\n",
            Uuid::now_v7(),
            keys.old.id()
        ));
    }
    let columns =
        "(tenant, subject_id, scope, state, consent_version, consent_id, pseudonym_key_id, recorded_at)";
    database.client.insert_json("consent_changes", columns, rows.into(), "people", &[]).await.unwrap();
    let all = PEOPLE as u64 + 7;
    let copies = format!("consent_changes WHERE pseudonym_key_id = '{}'", keys.new.id());

    // Killed somewhere in the middle: it waits for more ids when the first are copied.
    let list: Vec<String> = (0..PEOPLE).map(|n| format!("user-{n}")).collect();
    let arguments = ["pseudonyms", "rekey", "--tenant", "local", "--user-ids", "-"];
    let mut child =
        command(&database, &base, &arguments, &keys.file(&[&keys.new, &keys.old])).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all((list[..700].join("\n") + "\n").as_bytes()).unwrap();
    input.flush().unwrap();
    eventually("some copies", || async { (database.count(&copies).await > 0).then_some(()) }).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let some = database.count(&copies).await;
    assert!(some > 0 && some < PEOPLE as u64, "{some}");

    // In another order, so that some of those who are copied together are there.
    let others = list.iter().rev().map(String::as_str);
    let everybody = others.chain(["ann", "ben", "ann", "nobody"]).collect::<Vec<_>>().join("\n");
    let said = rekey(&database, &base, &keys, &everybody);
    assert_eq!(database.count(&copies).await, all, "{said}");
    let said = rekey(&database, &base, &keys, &everybody);
    assert_eq!(database.count(&copies).await, all);
    assert!(said.contains(" 0 changes copied") || said.contains("\n0 changes copied"), "{said}");
    assert!(!said.contains("under no other key"), "{said}");
    // All of a change but the pseudonym is as it was.
    let same = "consent_id, request_id, consent_version, scope, state, source, policy_version, jurisdiction, evidence, \
        actor, language, client_name, client_version, platform, recorded_at, collector_id";
    let differing = format!(
        "(SELECT {same}, count() AS n FROM consent_changes GROUP BY {same} HAVING n != 2 OR uniqExact(subject_id) != 2)"
    );
    assert_eq!(database.count(&differing).await, 0);

    // With the new key alone, after the old one is retired, everything is as it was said.
    let collector = keys.new_first(&base).start_ready().await;
    assert!(retire(&database, &base, &keys, "0").status.success());
    assert!(collector.terminate().await.success());
    let collector = keys.only_new(&base).start_ready().await;
    let client = collector.client().await;
    assert_eq!(versions_of(&client, "ann", 2).await, [4, 3, 2, 1]);
    assert_eq!(reason_of(&client, "ann").await, "granted");
    assert_eq!(reason_of(&client, "user-1999").await, "denied");
    assert_eq!(stamp_of(&database, &collector, "user-7").await.1, "denied");
}

#[tokio::test]
async fn a_lost_key_is_given_up_by_a_word_of_its_own() {
    let database = Database::new().await;
    let (keys, base) = (Keys::make(), Setup::new(&database));
    let collector = keys.only_old(&base).start_ready().await;
    collector.client().await.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    assert_eq!(stamp_of(&database, &collector, "ann").await.1, "granted");
    assert!(collector.terminate().await.success());
    assert_eq!(shown(&database).await, 1);

    let collector = keys.only_new(&base).start().await;
    eventually("it to be said", || async { base.log().contains("does not hold").then_some(()) }).await;
    // A stranger shuts nobody out.
    assert_eq!(database.count(&format!("pseudonym_keys WHERE key_id != '{}'", keys.old.id())).await, 0);
    assert!(stderr(&retire(&database, &base, &keys, "1")).contains("--lost"));
    let lost = |leaving: &str| {
        let arguments = [
            "pseudonyms",
            "retire",
            keys.old.id(),
            "--reason",
            "lost",
            "--lost",
            "--leaving-behind",
            leaving,
        ];
        run(&database, &base, &arguments, &keys.file(&[&keys.new]), "")
    };
    assert!(stderr(&lost("0")).contains("--leaving-behind 1"));
    let done = lost("1");
    assert!(done.status.success(), "{done:?}");
    assert_eq!(shown(&database).await, 0);
    // The collector goes on by itself, and the person is asked anew.
    collector.wait_until_serving().await;
    assert_eq!(stamp_of(&database, &collector, "ann").await.1, "unset_opt_in");
    collector.client().await.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    assert_eq!(stamp_of(&database, &collector, "ann").await.1, "granted");
    assert_eq!(shown(&database).await, 1);
}
