//! The settings of budgets, each by the id of its budget wherever and however it was written.

use bursar_actors::budget::{Act, BudgetSpec, Step};
use bursar_actors::limits::Holder;

use super::{List, dollars};
use crate::config::budgets::{BudgetPolicy, Deed, Unpriced};
use crate::config::layer::{child, item};
use crate::config::webhook::label;
use crate::config::{Config, units};

impl List<'_> {
    pub(super) fn budgets(&mut self, config: &Config) {
        self.budget_policy(&config.budget_policy);
        for (holder, specs) in &config.budgets.holders {
            let Some(path) = self.budget_path(holder) else { continue };
            self.budgets_at(&path, specs);
        }
        for (team, specs) in &config.budgets.members {
            self.budgets_at(&child(&child("teams", team.as_str()), "members_budget"), specs);
        }
    }

    fn budget_policy(&mut self, policy: &BudgetPolicy) {
        self.put("budgets.timezone", &policy.zone);
        self.put("budgets.unpriced", policy.unpriced.as_str());
        if let Unpriced::Estimate(rates) = policy.unpriced {
            for (key, rate) in rates.named() {
                self.optional(&child("budgets.unpriced_price", key), rate.map(dollars));
            }
        }
        self.put("budgets.queue_max", policy.queue_max);
        for (index, webhook) in policy.webhooks.iter().enumerate() {
            let here = item("budgets.webhooks", index);
            let url = child(&here, "url");
            self.secret(&url, &url, webhook.url.expose().as_bytes());
            if let Some(setting) = self.settings.last_mut() {
                setting.value = label(&webhook.url);
            }
            if let Some(secret) = &webhook.secret {
                let path = child(&here, "secret");
                self.secret(&path, &path, secret.expose().as_bytes());
            }
            let events: Vec<&str> = webhook.events.iter().copied().map(Deed::as_str).collect();
            self.words(&child(&here, "events"), &events);
        }
    }

    /// Returns where files say what `holder` may spend; `None` where they cannot.
    fn budget_path(&self, holder: &Holder) -> Option<String> {
        let of = |table: &str, id: &str| child(&child(table, id), "budget");
        match holder {
            Holder::Org(id) => Some(of("orgs", id.as_str())),
            Holder::Team(id) => Some(of("teams", id.as_str())),
            Holder::Key(id) => Some(of("client_keys", id)),
            Holder::Model(name) => {
                let alias = of("models.alias", name);
                let is_alias = self.origins.contains_key(&alias);
                Some(if is_alias { alias } else { child("budgets.models", name) })
            }
            Holder::Tag(tag) => Some(child("budgets.tags", tag)),
            Holder::ProviderKey(provider, id) => Some(of(&child(&child("providers", provider), "keys"), id)),
            Holder::User(..) | Holder::FurtherUsers(_) => None,
        }
    }

    fn budgets_at(&mut self, path: &str, specs: &[BudgetSpec]) {
        let monthly = path.strip_suffix(".budget").map(|key| child(key, "monthly_budget"));
        let monthly = monthly.filter(|path| self.origins.contains_key(path));
        for (index, spec) in specs.iter().enumerate() {
            let here = child(path, &spec.id);
            if let (0, Some(monthly)) = (index, &monthly) {
                self.put_of(&child(&here, "amount"), monthly, dollars(spec.amount_nano));
                self.put_of(&child(&here, "period"), monthly, spec.period);
                continue;
            }
            // In a list by its id, or by its number where it has none; else the one table.
            let number = item(path, index - usize::from(monthly.is_some()));
            let places = [here.clone(), number];
            let written = places.into_iter().find(|place| self.origins.contains_key(place));
            self.budget(&here, &written.unwrap_or_else(|| path.to_owned()), spec);
        }
    }

    fn budget(&mut self, path: &str, written: &str, spec: &BudgetSpec) {
        let BudgetSpec { id: _, amount_nano, period, zone, rollover_ppm, soft, steps } = spec;
        let mut put =
            |key: &str, value: String| self.put_of(&format!("{path}.{key}"), &format!("{written}.{key}"), value);
        put("amount", dollars(*amount_nano));
        put("period", period.to_string());
        put("timezone", zone.to_string());
        put("rollover", units::share_text(*rollover_ppm));
        put("soft", soft.to_string());
        for (index, Step { at_ppm, act }) in steps.iter().enumerate() {
            let mut put = |key: &str, value: String| put(&child(&item("steps", index), key), value);
            put("at", units::share_text(*at_ppm));
            put("do", act.word().to_owned());
            match act {
                Act::Downgrade { to: Some(to) } => put("to", to.clone()),
                Act::Throttle { rpm } => put("rpm", rpm.to_string()),
                Act::Queue { max_wait, priority } => {
                    put("max_wait", humantime::format_duration(*max_wait).to_string());
                    put("priority", priority.word().to_owned());
                }
                Act::Notify | Act::Downgrade { to: None } | Act::Block => {}
            }
        }
    }
}
