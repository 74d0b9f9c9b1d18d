//! The settings of compliance, data classes, prompts and guardrails.
//!
//! Terms that must not leave are told to nobody here either; what is left alone is, because it is where leaks begin.

use super::List;
use crate::config::layer::{child, item};
use crate::config::privacy::{
    Action, Audience, DataClass, Guardrails, Pii, PiiPolicy, Privacy, Prompt, Reviewer, Rule, Stage, Stages,
};
use crate::config::webhook;
use crate::privacy::EntitySet;

const LAW: &str = "compliance.profile";

impl List<'_> {
    pub(super) fn privacy(&mut self, privacy: &Privacy) {
        let Privacy { compliance, data_classes, prompts, guardrails } = privacy;
        self.optional(LAW, compliance.map(|law| law.profile().as_str()));
        for (name, class) in data_classes {
            self.data_class(&child("data_classes", name), class);
        }
        for prompt in prompts {
            self.prompt(&child("prompts", &prompt.name), prompt);
        }
        let Guardrails { on_error, stream_window, unscanned_parts, dry_run, pii, rules, webhooks, structured_output } =
            guardrails;
        self.put("guardrails.on_error", on_error.as_str());
        self.put("guardrails.stream_window", stream_window);
        self.put("guardrails.unscanned_parts", unscanned_parts.as_str());
        self.put("guardrails.dry_run", dry_run);
        self.pii(pii);
        for rule in rules {
            self.rule(&child("guardrails.rules", &rule.name), rule);
        }
        let path = "guardrails.structured_output";
        self.put(&child(path, "check"), structured_output.check.as_str());
        self.put(&child(path, "repair"), structured_output.repair);
        self.audience(path, &structured_output.audience);
        for webhook in webhooks {
            self.reviewer(&child("guardrails.webhooks", &webhook.name), webhook);
        }
    }

    fn data_class(&mut self, path: &str, class: &DataClass) {
        let from = child(path, "from");
        self.entities(&[&child(&from, "findings")], class.findings);
        self.names(&child(&from, "teams"), &class.teams);
        self.names(&child(&from, "orgs"), &class.orgs);
        self.optional(&child(&from, "header"), class.header.as_ref());
        self.put(&child(&child(path, "require"), "self_hosted"), class.self_hosted);
    }

    fn prompt(&mut self, path: &str, prompt: &Prompt) {
        let when = child(path, "when");
        self.names(&child(&when, "team"), &prompt.audience.teams);
        self.names(&child(&when, "org"), &prompt.audience.orgs);
        self.names(&child(&when, "route"), &prompt.audience.routes);
        self.put(&child(path, "place"), prompt.place.as_str());
        self.put(&child(path, "text"), format!("{:?}", prompt.text));
    }

    fn pii(&mut self, pii: &Pii) {
        let path = "guardrails.pii";
        self.policy(path, &pii.policy);
        for custom in &pii.custom {
            let here = child(&child(path, "custom"), &custom.name);
            self.put(&child(&here, "pattern"), &custom.pattern);
            self.optional(&child(&here, "action"), custom.action.map(Action::as_str));
        }
        for (index, own) in pii.teams.iter().enumerate() {
            let here = item(&child(path, "teams"), index);
            self.names(&child(&here, "team"), &own.teams);
            self.names(&child(&here, "org"), &own.orgs);
            self.policy(&here, &own.policy);
        }
    }

    fn policy(&mut self, path: &str, policy: &PiiPolicy) {
        let at = |key: &str| child(path, key);
        let PiiPolicy { enabled, stages, numbers, action, actions, entities, locales, min_confidence, allow, deny } =
            policy;
        self.put_of_first(&[&at("enabled"), LAW], enabled);
        self.stages(&at("stage"), *stages);
        self.put(&at("action"), action.as_str());
        self.put(&at("numbers"), numbers.as_str());
        for (entity, own) in actions {
            let here = child(&at("actions"), entity.as_str());
            for stage in Stage::ALL {
                let (path, action) = (child(&here, stage.as_str()), own.of(stage).map(Action::as_str));
                if let Some(action) = action {
                    self.put_of_first(&[&path, &here], action);
                }
            }
        }
        self.entities(&[&at("entities"), &at("profile"), LAW], *entities);
        self.words(&at("locales"), locales);
        self.put(&at("min_confidence"), share(*min_confidence));
        if !allow.is_empty() {
            self.words(&at("allow"), allow);
        }
        self.hidden(&at("deny"), deny);
    }

    fn rule(&mut self, path: &str, rule: &Rule) {
        let at = |key: &str| child(path, key);
        self.stages(&at("stage"), rule.stages);
        let more = [
            ("injection", rule.injection.is_some()),
            ("languages", !rule.languages.is_empty()),
            ("terms", !rule.terms.is_empty()),
            ("patterns", !rule.patterns.is_empty()),
        ];
        let more = more.into_iter().filter(|(_, is)| *is).map(|(word, _)| word);
        self.words(&at("detect"), &rule.entities.iter().map(|entity| entity.as_str()).chain(more).collect::<Vec<_>>());
        self.hidden(&at("terms"), &rule.terms);
        if rule.at_least > 1 {
            self.put(&at("at_least"), rule.at_least);
        }
        self.names(&at("patterns"), &rule.patterns);
        self.names(&at("languages"), &rule.languages);
        self.optional(&at("threshold"), rule.injection.map(share));
        self.put(&at("action"), rule.action.as_str());
        self.optional(&at("message"), rule.message.as_ref().map(|text| format!("{text:?}")));
        self.audience(path, &rule.audience);
    }

    fn reviewer(&mut self, path: &str, reviewer: &Reviewer) {
        let at = |key: &str| child(path, key);
        let Reviewer { name: _, url, secret, token, stages, timeout, on_error, stream_window, audience } = reviewer;
        self.secret(&at("url"), &at("url"), url.expose().as_bytes());
        if let Some(setting) = self.settings.last_mut() {
            setting.value = webhook::label(url);
        }
        for (key, secret) in [("secret", secret), ("token", token)] {
            if let Some(secret) = secret {
                self.secret(&at(key), &at(key), secret.expose().as_bytes());
            }
        }
        self.stages(&at("stage"), *stages);
        self.put(&at("timeout"), humantime::format_duration(*timeout));
        self.put(&at("on_error"), on_error.as_str());
        self.put(&at("stream_window"), stream_window);
        self.audience(path, audience);
    }

    fn audience(&mut self, path: &str, audience: &Audience) {
        self.names(&child(path, "teams"), &audience.teams);
        self.names(&child(path, "orgs"), &audience.orgs);
        self.names(&child(path, "routes"), &audience.routes);
    }

    /// Adds a list that says nothing where it is empty.
    fn names<T: std::fmt::Display>(&mut self, path: &str, names: &[T]) {
        if !names.is_empty() {
            self.words(path, names);
        }
    }

    fn stages(&mut self, path: &str, stages: Stages) {
        let words: Vec<&str> =
            Stage::ALL.into_iter().filter(|stage| stages.contains(*stage)).map(Stage::as_str).collect();
        self.words(path, &words);
    }

    /// Adds a set of entities at the first of `paths`, which any of them may have said.
    fn entities(&mut self, paths: &[&str], entities: EntitySet) {
        let words: Vec<String> = entities.iter().map(|entity| format!("{:?}", entity.as_str())).collect();
        if !words.is_empty() {
            self.put_of_first(paths, format!("[{}]", words.join(", ")));
        }
    }

    /// Adds a list of terms by its hash.
    fn hidden(&mut self, path: &str, terms: &[String]) {
        if !terms.is_empty() {
            self.secret(path, path, format!("{terms:?}").as_bytes());
        }
    }
}

/// Returns hundredths as a share: `0.6`.
fn share(hundredths: u8) -> f64 {
    f64::from(hundredths) / 100.0
}
