//! A person's consent as a record that they can keep, with the fields of ISO/IEC TS 27560:2023.
//!
//! The field names are those of its tables 1 (header), 2 (processing), 3 (parties) and 4 (events).
//! What only the operator can know (who the controller is, where the notice stands) comes from the
//! configuration, and is left out where nobody said. GDPR article 7 asks the controller to be able
//! to demonstrate consent: each event therefore says what was shown, under which terms, in which
//! language and by which client, who answered and when.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    ConsentScope, ConsentState, Decision, EligibilityReason, Policy, Record, Source, decision::Rule,
};
use crate::event::{EventType, Micros, SubjectId, Tenant};

/// The form of the receipt; a new one when a field changes its meaning.
const SCHEMA_VERSION: &str = "assent.consent-receipt/1 (ISO/IEC TS 27560:2023)";
/// The party that decides about the processing.
const CONTROLLER: &str = "controller";

/// Who decides about the processing, as a receipt names them. All of it may be left empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controller {
    /// Its name.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// How to reach it about privacy: an address, a number, a page.
    pub contact: String,
    /// Its web site.
    pub url: String,
    /// Where the privacy notice stands.
    pub privacy_notice_url: String,
    /// How consent is taken back, in words; it has to be as easy as giving it.
    pub withdrawal_method: String,
    /// How long the data is kept, in words.
    pub retention_period: String,
    /// The affiliates that may train under the scope `affiliates`.
    pub affiliates: Vec<String>,
}

/// Who decides, tenant by tenant.
#[derive(Clone, Debug, Default)]
pub struct Controllers {
    /// Of tenants that have one of their own.
    pub of_tenants: HashMap<String, Controller>,
    /// Of all others.
    pub of_others: Controller,
}

impl Controllers {
    /// Who decides about a tenant's data.
    #[must_use]
    pub fn of(&self, tenant: &Tenant) -> &Controller {
        self.of_tenants.get(tenant.as_str()).unwrap_or(&self.of_others)
    }
}

/// What a receipt is made from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Whose user it is.
    pub tenant: &'a Tenant,
    /// The person.
    pub subject_id: SubjectId,
    /// The person's changes, the newest first.
    pub records: &'a [Record],
    /// Whether there are older changes than these.
    pub older_left_out: bool,
    /// For each scope, the rule that would decide about an ordinary event now.
    pub rules: [(ConsentScope, Rule); 2],
    /// What would be decided about it.
    pub decision: &'a Decision,
    /// The policy in force.
    pub policy: &'a Policy,
    /// Who decides about the processing.
    pub controller: &'a Controller,
    /// Now.
    pub issued_at: Micros,
}

#[derive(Serialize)]
struct Receipt<'a> {
    schema_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_id: Option<String>,
    pii_principal_id: String,
    issued_at: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    privacy_notice: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
    pii_processing: Vec<Processing<'a>>,
    party_identification: Vec<Party<'a>>,
    decision_now: DecisionNow<'a>,
    older_events_left_out: bool,
}

#[derive(Serialize)]
struct Processing<'a> {
    scope: &'static str,
    state: &'static str,
    purposes: [Purpose<'a>; 1],
    events: Vec<Event<'a>>,
}

#[derive(Serialize)]
struct Purpose<'a> {
    purpose: &'static str,
    purpose_type: &'static str,
    lawful_basis: &'static str,
    pii_information: Vec<PiiInformation>,
    pii_controllers: [&'static str; 1],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    recipient_third_parties: &'a [String],
    collection_method: &'static str,
    processing_method: &'static str,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    jurisdictions: BTreeSet<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    retention_period: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    withdrawal_method: &'a str,
}

#[derive(Serialize)]
struct PiiInformation {
    pii_type: &'static str,
    pii_optional: bool,
}

#[derive(Serialize)]
struct Event<'a> {
    event_id: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<String>,
    event_type: &'static str,
    event_state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    entity_id: &'a str,
    source: &'static str,
    consent_version: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    terms_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    jurisdiction: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    evidence: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Client<'a>>,
}

#[derive(Serialize)]
struct Client<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    platform: &'a str,
}

#[derive(Serialize)]
struct Party<'a> {
    party_id: &'a str,
    party_role: &'static str,
    party_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    party_address: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    party_contact: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    party_url: &'a str,
}

#[derive(Serialize)]
struct DecisionNow<'a> {
    training_scope: &'static str,
    eligibility_reason: &'static str,
    policy_version: &'a str,
    policy_digest: &'a str,
}

/// Writes the receipt as JSON.
///
/// # Errors
/// Never in practice: all of it is text and numbers.
pub fn receipt(facts: &Facts<'_>) -> Result<String, serde_json::Error> {
    let Facts { controller, policy, decision, records, .. } = facts;
    serde_json::to_string_pretty(&Receipt {
        schema_version: SCHEMA_VERSION,
        record_id: records.first().map(|newest| newest.consent_id.to_string()),
        pii_principal_id: facts.subject_id.to_string(),
        issued_at: facts.issued_at.to_string(),
        privacy_notice: &controller.privacy_notice_url,
        language: records.iter().map(|it| it.language.as_str()).find(|it| !it.is_empty()).unwrap_or_default(),
        pii_processing: facts.rules.iter().map(|(scope, rule)| processing(facts, *scope, *rule)).collect(),
        party_identification: parties(facts),
        decision_now: DecisionNow {
            training_scope: decision.training_scope.as_str(),
            eligibility_reason: decision.reason.as_str(),
            policy_version: policy.version(),
            policy_digest: policy.digest(),
        },
        older_events_left_out: facts.older_left_out,
    })
}

fn processing<'a>(facts: &Facts<'a>, scope: ConsentScope, rule: Rule) -> Processing<'a> {
    // A change that had to be appended again is one event, which the newest of its rows stands for.
    let mut seen = HashSet::new();
    let mut records: Vec<&Record> =
        facts.records.iter().filter(|it| it.scope == scope && seen.insert(it.request_id)).collect();
    let state = records.first().map_or(ConsentState::Unset, |newest| newest.state);
    records.reverse();
    let mut before = ConsentState::Unset;
    let events = records
        .iter()
        .map(|record| {
            let event = event(record, before);
            before = record.state;
            event
        })
        .collect();
    let (purpose, recipients) = match scope {
        ConsentScope::FirstParty => ("training machine-learning models of the controller", &[][..]),
        ConsentScope::Affiliates => (
            "training machine-learning models of the controller's affiliates",
            facts.controller.affiliates.as_slice(),
        ),
    };
    Processing {
        scope: scope.as_str(),
        state: state.as_str(),
        purposes: [Purpose {
            purpose,
            purpose_type: scope.as_str(),
            lawful_basis: lawful_basis(rule.reason()),
            pii_information: EventType::ALL
                .into_iter()
                .filter(|kind| !facts.policy.excludes(*kind, ""))
                .map(|kind| PiiInformation { pii_type: kind.as_str(), pii_optional: true })
                .collect(),
            pii_controllers: [CONTROLLER],
            recipient_third_parties: recipients,
            collection_method: "sent by the client in which the person writes",
            processing_method: "pseudonymised, and personal data in texts redacted, before it is stored",
            jurisdictions: records
                .iter()
                .map(|it| it.jurisdiction.as_str())
                .filter(|it| !it.is_empty())
                .collect(),
            retention_period: &facts.controller.retention_period,
            withdrawal_method: &facts.controller.withdrawal_method,
        }],
        events,
    }
}

/// What the use stands on now. A silence that a policy takes for a yes is not consent (GDPR, recital
/// 32), and a receipt does not call it so.
const fn lawful_basis(reason: EligibilityReason) -> &'static str {
    match reason {
        EligibilityReason::Granted => "consent",
        EligibilityReason::GrantedByDefault => "none recorded: the policy takes silence for a yes",
        _ => "none: not used for this purpose",
    }
}

fn event(record: &Record, before: ConsentState) -> Event<'_> {
    let client = &record.client;
    Event {
        event_id: record.consent_id.to_string(),
        request_id: record.request_id.to_string(),
        event_time: record.recorded_at.map(|at| at.to_string()),
        event_type: match record.source {
            Source::UserSetting => "explicit",
            // Somebody else answered, or a signal did: whether the person was asked is not known here.
            Source::Admin | Source::Import | Source::GpcSignal | Source::PolicyDefault => "not stated",
        },
        event_state: match (record.state, before) {
            (ConsentState::Granted, _) => "consent given",
            (ConsentState::Denied | ConsentState::Unset, ConsentState::Granted) => "consent withdrawn",
            (ConsentState::Denied, _) => "consent refused",
            (ConsentState::Unset, _) => "answer taken back",
        },
        entity_id: &record.actor,
        source: record.source.as_str(),
        consent_version: record.consent_version,
        terms_version: &record.policy_version,
        jurisdiction: &record.jurisdiction,
        evidence: &record.evidence,
        language: &record.language,
        client: (!client.name.is_empty()).then_some(Client {
            name: &client.name,
            version: &client.version,
            platform: &client.platform,
        }),
    }
}

fn parties<'a>(facts: &Facts<'a>) -> Vec<Party<'a>> {
    let controller = facts.controller;
    let name = if controller.name.is_empty() { facts.tenant.as_str() } else { &controller.name };
    let mut parties = vec![Party {
        party_id: CONTROLLER,
        party_role: "PII controller",
        party_name: name,
        party_address: &controller.address,
        party_contact: &controller.contact,
        party_url: &controller.url,
    }];
    parties.extend(controller.affiliates.iter().map(|affiliate| Party {
        party_id: affiliate,
        party_role: "third party (affiliate)",
        party_name: affiliate,
        party_address: "",
        party_contact: "",
        party_url: "",
    }));
    parties
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::consent::ClientInfo;

    fn record(version: u32, scope: ConsentScope, state: ConsentState, request: u128) -> Record {
        Record {
            consent_id: Uuid::from_u128(u128::from(version)),
            request_id: Uuid::from_u128(request),
            scope,
            state,
            source: Source::UserSetting,
            policy_version: "2026-01".to_owned(),
            consent_version: version,
            jurisdiction: "DE".to_owned(),
            evidence: "the dialog".to_owned(),
            actor: "self".to_owned(),
            language: "de".to_owned(),
            client: ClientInfo { name: "editor-web".to_owned(), ..ClientInfo::default() },
            recorded_at: Some(Micros(1_767_225_600_000_000)),
        }
    }

    fn written(records: &[Record], rule: Rule) -> Value {
        let policy = Policy::builtin();
        let controller = Controller {
            name: "Acme".to_owned(),
            affiliates: vec!["Acme Labs".to_owned()],
            ..Controller::default()
        };
        let text = receipt(&Facts {
            tenant: &Tenant::new("local"),
            subject_id: SubjectId::from_bytes([7; 16]),
            records,
            older_left_out: false,
            rules: [(ConsentScope::FirstParty, rule), (ConsentScope::Affiliates, Rule::SilenceMeansNo)],
            decision: &Decision::none(rule.reason()),
            policy: &policy,
            controller: &controller,
            issued_at: Micros(1_767_225_600_000_000),
        });
        serde_json::from_str(&text.unwrap()).unwrap()
    }

    #[test]
    fn it_tells_the_story_of_each_scope_oldest_first() {
        use ConsentScope::{Affiliates, FirstParty};
        use ConsentState::{Denied, Granted, Unset};
        let receipt = written(
            &[
                record(6, FirstParty, Denied, 5),
                // The same change, appended again above another.
                record(5, FirstParty, Denied, 5),
                record(4, FirstParty, Granted, 4),
                record(3, FirstParty, Unset, 3),
                record(2, Affiliates, Granted, 2),
                record(1, FirstParty, Denied, 1),
            ],
            Rule::SaidNo,
        );
        let states = |scope: usize| -> Vec<_> {
            let events = receipt["pii_processing"][scope]["events"].as_array().unwrap();
            events.iter().map(|it| it["event_state"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(states(0), ["consent refused", "answer taken back", "consent given", "consent withdrawn"]);
        assert_eq!(states(1), ["consent given"]);
        assert_eq!(receipt["pii_processing"][0]["state"], "denied");
        assert_eq!(receipt["pii_processing"][0]["events"][3]["consent_version"], 6);
        assert_eq!(receipt["pii_processing"][0]["events"][0]["event_time"], "2026-01-01T00:00:00Z");
        assert_eq!(
            receipt["pii_processing"][0]["purposes"][0]["lawful_basis"],
            "none: not used for this purpose"
        );
        assert_eq!(receipt["pii_processing"][1]["purposes"][0]["recipient_third_parties"][0], "Acme Labs");
        assert_eq!(receipt["record_id"], Uuid::from_u128(6).to_string());
        assert_eq!(receipt["party_identification"][0]["party_name"], "Acme");
        // What nobody said is not there.
        assert!(receipt.get("privacy_notice").is_none());
    }

    #[test]
    fn who_never_answered_has_a_receipt_without_events() {
        let receipt = written(&[], Rule::SilenceMeansYes);
        assert!(receipt.get("record_id").is_none());
        assert_eq!(receipt["pii_processing"][0]["state"], "unset");
        let basis = &receipt["pii_processing"][0]["purposes"][0]["lawful_basis"];
        assert_eq!(basis, "none recorded: the policy takes silence for a yes");
    }
}
