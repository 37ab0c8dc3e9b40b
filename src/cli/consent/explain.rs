//! `assent consent explain`: the rules, one a line, and which of them decides.

use super::{Caller, EventTypeArg, ExplainArgs, print_record, scope_name};
use crate::{event::EventType, ingress::proto};

pub(super) async fn run(caller: &Caller, args: ExplainArgs) -> anyhow::Result<()> {
    let event_type = match args.event_type {
        EventTypeArg::TypedText => EventType::TypedText,
        EventTypeArg::SuggestionShown => EventType::SuggestionShown,
        EventTypeArg::SuggestionFeedback => EventType::SuggestionFeedback,
        EventTypeArg::LanguagePreference => EventType::LanguagePreference,
    };
    let answer = caller
        .connect(args.person.api_key.as_ref())
        .await?
        .explain_decision(proto::ExplainDecisionRequest {
            user_id: args.person.user,
            jurisdiction: args.person.jurisdiction,
            event_type: event_type.as_str().to_owned(),
            feature: args.feature,
            global_privacy_control: args.gpc,
        })
        .await?;
    let place = if answer.jurisdiction.is_empty() { "an unknown place" } else { &answer.jurisdiction };
    say!("subject         {}", answer.subject_id);
    say!("event           {} in {place}", event_type.as_str());
    say!("policy          {} ({})", answer.policy_version, answer.policy_digest);
    say!("decision now    {} ({})", answer.training_scope, answer.eligibility_reason);
    for scope in &answer.scopes {
        let allowed = if scope.allowed { "allowed" } else { "not allowed" };
        say!("\n{}: {allowed} ({})", scope_name(scope.scope)?, scope.eligibility_reason);
        for rule in &scope.rules {
            let (mark, found) = match rule.outcome() {
                proto::RuleOutcome::Decided => ("=>", rule.found.as_str()),
                proto::RuleOutcome::NotReached => ("  ", "not reached"),
                proto::RuleOutcome::Passed | proto::RuleOutcome::Unspecified => ("  ", rule.found.as_str()),
            };
            say!("{mark} {}. {}: {found}", rule.number, rule.rule);
        }
        if let Some(record) = &scope.record {
            say_on!("   ");
            print_record(record);
        }
    }
    say!(
        "\nThe first rule that applies decides. `affiliates` needs first_party as well; before a row is written it is \
         decided once more, and gets the narrower of the two."
    );
    Ok(())
}
