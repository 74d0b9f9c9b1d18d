//! Budgets in configuration files, right and wrong ones, and what is told of them.

use std::time::Duration;

use bursar_actors::budget::Priority;
use bursar_actors::budget::Step;

use super::*;
use crate::config::Config;
use crate::config::budgets::{Deed, Unpriced};
use crate::config::fault::{Fault, Faults};
use crate::config::load::{Sources, load};
use crate::config::reload;
use crate::config::settings::settings;

/// The lines before the text of a test: it begins at line 13.
const HEAD: &str = "\
[providers.p]
kind = 'openai_compatible'
base_url = 'http://a/v1'
keys = [{ id = 'k', value = 'sk-0123456789' }]
[models.alias.fast]
targets = [{ provider = 'p', model = 'small' }]
[models.alias.smart]
targets = [{ provider = 'p', model = 'large' }]
[orgs.o]
models = ['smart']
[teams.o_team]
org = 'o'
";

fn loaded(text: &str, set: &[&str]) -> Result<Config, Faults> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bursar.toml"), format!("{HEAD}{text}")).expect("a file");
    let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
    let set = set.iter().map(ToString::to_string).collect();
    load(&Sources { working_dir, system_file, set, ..Sources::default() })
}

fn config(text: &str) -> Config {
    loaded(text, &[]).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Returns the faults of a file that ends with `text`, each as `line:column: words`.
fn faults(text: &str) -> Vec<String> {
    let faults = loaded(text, &[]).err();
    let lines = faults.iter().flat_map(Faults::iter).map(Fault::one_line);
    lines.map(|line| line.trim_start_matches("bursar.toml:").to_owned()).collect()
}

/// Returns the one fault of a team's budget of 10 dollars a day with this, said as line 15 or later.
fn fault_of(text: &str) -> String {
    let mut found = faults(&format!("[teams.t.budget]\namount = 10\n{text}\n"));
    assert!(found.len() == 1, "{text}: {found:?}");
    found.remove(0)
}

fn team(config: &Config, id: &str) -> Vec<BudgetSpec> {
    config.budgets.of(&Holder::Team(id.into())).map(|specs| specs.to_vec()).unwrap_or_default()
}

#[test]
fn a_budget_is_read_to_the_nano_dollar_with_all_its_steps() {
    let config = config(
        "[teams.t.budget]\namount = \"2000.000000001\"\nperiod = \"month\"\ntimezone = \"europe/berlin\"\nrollover = 0.25\n\
         [[teams.t.budget.steps]]\nat = 0.8\ndo = \"notify\"\n\
         [[teams.t.budget.steps]]\nat = 0.85\ndo = \"downgrade\"\nto = \"fast\"\n\
         [[teams.t.budget.steps]]\nat = 0.9\ndo = \"throttle\"\nrpm = 10\n\
         [[teams.t.budget.steps]]\nat = 0.95\ndo = \"queue\"\nmax_wait = \"60s\"\npriority = \"low\"\n\
         [[teams.t.budget.steps]]\nat = 1.0\ndo = \"block\"\n",
    );

    let step = |at_ppm, act| Step { at_ppm, act };
    let expected = BudgetSpec {
        id: "month".to_owned(),
        amount_nano: 2_000_000_000_001,
        period: Period::Month,
        zone: Zone::of_name("Europe/Berlin").expect("a zone"),
        rollover_ppm: 250_000,
        soft: false,
        steps: vec![
            step(800_000, Act::Notify),
            step(850_000, Act::Downgrade { to: Some("fast".to_owned()) }),
            step(900_000, Act::Throttle { rpm: 10 }),
            step(950_000, Act::Queue { max_wait: Duration::from_secs(60), priority: Priority::Low }),
            step(1_000_000, Act::Block),
        ],
    };
    assert_eq!(team(&config, "t"), [expected]);
}

#[test]
fn several_windows_stand_in_a_list() {
    let config = config(
        "[teams.t]\nbudget = [{ amount = 5, period = \"day\" }, { id = 'any_week', amount = 20, period = \"7d\", soft = true }]\n\
         [[teams.t.members_budget]]\namount = 1\nperiod = \"day\"\n",
    );

    let specs = team(&config, "t");
    let ids: Vec<_> = specs.iter().map(|spec| (spec.id.as_str(), spec.period, spec.soft)).collect();
    assert_eq!(ids, [("day", Period::Day, false), ("any_week", Period::Rolling { seconds: 604_800 }, true)]);
    let member = config.budgets.of(&Holder::User("t".into(), "anybody".into())).expect("a budget");
    assert_eq!((member.len(), member[0].amount_nano), (1, 1_000_000_000));
}

#[test]
fn everything_that_spends_may_have_one() {
    let config = config(
        "[orgs.q]\nbudget = { amount = 1, period = 'year' }\n\
         [[client_keys]]\nid = 'ci'\nvalue = '0123456789abcdef'\nbudget = { amount = 1, period = 'quarter' }\n\
         [models.alias.big]\ntargets = [{ provider = 'p', model = 'm' }]\nbudget = { amount = 1, period = 'week' }\n\
         [budgets.models.\"p/large\"]\namount = 1\nperiod = 'day'\n\
         [[budgets.tags.\"cost_center=4711\"]]\namount = 1\nperiod = '36h'\n",
    );

    let ids = |holder| config.budgets.of(&holder).expect("a budget").iter().map(|spec| spec.id.clone()).collect();
    let ids: [Vec<String>; 5] = [
        Holder::Org("q".into()),
        Holder::Key("ci".into()),
        Holder::Model("big".into()),
        Holder::Model("p/large".into()),
        Holder::Tag("cost_center=4711".into()),
    ]
    .map(ids);
    assert_eq!(ids, [["year"], ["quarter"], ["week"], ["day"], ["36h"]]);
}

#[test]
fn a_providers_key_has_dollars_a_month_and_what_is_skipped_has_nothing() {
    let keys = "keys = [{ id = 'k', value = 'sk-0123456789', monthly_budget = 4000, budget = { amount = 300, period = 'day' } }, \
                { id = 'none', value = '', optional = true, monthly_budget = 1 }]\n";
    let config = config(&format!("[providers.q]\nkind = 'openai_compatible'\nbase_url = 'http://b/v1'\n{keys}"));

    let specs = config.budgets.of(&Holder::ProviderKey("q".into(), "k".into())).expect("a budget");
    let [month, day] = &**specs else { panic!("{specs:?}") };
    assert_eq!((month.period, month.amount_nano, month.zone.name()), (Period::Month, 4_000_000_000_000, "UTC"));
    assert_eq!(day.period, Period::Day);
    assert_eq!(config.budgets.holders.len(), 1);
}

#[test]
fn a_file_without_budgets_has_none() {
    let config = config("");

    assert!(config.budgets.is_empty());
    assert_eq!(config.budget_policy.queue_max, 1_000);
    assert_eq!(config.budget_policy.unpriced, Unpriced::Block);
}

#[test]
fn budgets_that_name_no_zone_have_that_of_all() {
    let config = config(
        "[teams.t.budget]\namount = 1\nperiod = 'day'\n[budgets]\ntimezone = 'Asia/Tokyo'\nqueue_max = 5\nunpriced = 'estimate'\n\
         unpriced_price = { input = 5, output = \"25.5\" }\n",
    );

    assert_eq!(team(&config, "t")[0].zone.name(), "Asia/Tokyo");
    assert_eq!(config.budget_policy.queue_max, 5);
    let Unpriced::Estimate(rates) = config.budget_policy.unpriced else { panic!() };
    assert_eq!((rates.input, rates.output), (Some(5_000_000_000), Some(25_500_000_000)));
}

#[test]
fn what_is_missing_is_named() {
    assert!(faults("[teams.t]\nbudget = { period = 'day' }\n")[0].starts_with("14:1: teams.t.budget has no `amount`"));
    assert!(fault_of("").starts_with("13:10: teams.t.budget has no `period`"), "{}", fault_of(""));
    let step = |step: &str| fault_of(&format!("period = 'day'\nsteps = [{{ {step} }}]"));
    for (text, expected) in [
        ("do = 'notify'", "teams.t.budget.steps[0] has no `at`"),
        ("at = 0.5", "teams.t.budget.steps[0] has no `do`; one of notify, downgrade, throttle, queue, block"),
        ("at = 0.5, do = 'throttle'", "teams.t.budget.steps[0] has no `rpm`"),
        ("at = 0.5, do = 'queue'", "teams.t.budget.steps[0] has no `max_wait`"),
    ] {
        let found = step(text);
        assert!(found.starts_with(&format!("16:10: {expected}")), "{text}: {found}");
    }
}

#[test]
fn figures_out_of_range_are_refused() {
    for (text, expected) in [
        ("period = 'fortnight'", "15:10: teams.t.budget.period is `fortnight`, which is no period; one of day"),
        ("period = 'monthly'", "15:10: teams.t.budget.period is `monthly`, which is no period; did you mean `month`?"),
        ("period = '59m'", "15:10: teams.t.budget.period is `59m`; a rolling window has 1h to 366d"),
        ("period = '61m'", "15:10: teams.t.budget.period is `61m`; a rolling window"),
        ("period = '367d'", "15:10: teams.t.budget.period is `367d`; a rolling window"),
        ("period = 'day'\nrollover = 1.5", "16:12: teams.t.budget.rollover is 1.5; it is a share"),
        ("period = '30d'\nrollover = 0.5", "16:12: teams.t.budget.rollover: a rolling window has none before it"),
        ("period = 'day'\nid = 'No'", "16:6: `No` is not an id"),
        ("period = 'day'\nsoft = true\nsteps = [{ at = 1, do = 'block' }]", "16:8: teams.t.budget is soft, but"),
    ] {
        let found = fault_of(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    for amount in ["0", "-1", "\"much\"", "0.0000000001", "1e300"] {
        let found = faults(&format!("[teams.t]\nbudget = {{ period = 'day', amount = {amount} }}\n"));
        assert!(found.len() == 1 && found[0].starts_with("14:37: teams.t.budget.amount"), "{amount}: {found:?}");
    }
}

#[test]
fn steps_rise_within_their_limit_and_say_what_they_need() {
    let steps = |steps: &str| fault_of(&format!("period = 'day'\nsteps = [{steps}]"));
    for (text, expected) in [
        ("{ at = 0, do = 'notify' }", "16:17: teams.t.budget.steps[0].at is 0; a step is above it"),
        ("{ at = 85, do = 'notify' }", "16:17: teams.t.budget.steps[0].at is 85; it is a share, from 0 to 1"),
        ("{ at = -0.5, do = 'notify' }", "16:17: teams.t.budget.steps[0].at is -0.5; it is a share"),
        (
            "{ at = 0.85, do = 'notify' }, { at = 0.8, do = 'block' }",
            "16:47: teams.t.budget.steps[1].at is 0.8, but the step before is at 0.85; steps rise",
        ),
        ("{ at = 0.5, do = 'notify' }, { at = 0.50, do = 'block' }", "16:46: teams.t.budget.steps[1].at is 0.5, but"),
        ("{ at = 0.5, do = 'stop' }", "16:27: teams.t.budget.steps[0].do is `stop`, which is not one of: notify"),
        ("{ at = 0.5, do = 'throttle', rpm = 0 }", "16:45: teams.t.budget.steps[0].rpm is 0; that is do = \"block\""),
        ("{ at = 0.5, do = 'queue', max_wait = '0s' }", "16:47: teams.t.budget.steps[0].max_wait is zero"),
        (
            "{ at = 0.5, do = 'notify', to = 'fast' }",
            "16:42: teams.t.budget.steps[0].to belongs to do = \"downgrade\", not to \"notify\"",
        ),
    ] {
        let found = steps(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

#[test]
fn a_zone_that_is_none_comes_with_the_one_that_was_meant() {
    for (zone, meant) in
        [("Europe/Berlyn", "Europe/Berlin"), ("new york", "America/New_York"), ("Kathmandu", "Asia/Kathmandu")]
    {
        let found = fault_of(&format!("period = 'day'\ntimezone = '{zone}'"));
        let expected =
            format!("16:12: teams.t.budget.timezone: there is no time zone `{zone}`; did you mean `{meant}`?");
        assert!(found.starts_with(&expected), "{found}");
    }
    assert!(faults("[budgets]\ntimezone = 'Mars'\n")[0].starts_with("14:12: budgets.timezone: there is no time zone"));
}

#[test]
fn a_downgrade_goes_to_an_alias_that_its_holder_may_use() {
    let to = |table: &str, alias: &str| {
        let steps = format!("steps = [{{ at = 0.5, do = 'downgrade', to = '{alias}' }}]");
        faults(&format!("[{table}]\namount = 1\nperiod = 'day'\n{steps}\n"))
    };

    assert_eq!(to("teams.o_team.budget", "smart"), Vec::<String>::new());
    assert!(to("teams.t.budget", "fats")[0].contains("names alias `fats`, which is not defined"));
    for table in ["teams.o_team.budget", "teams.o_team.members_budget"] {
        let expected = format!(
            "16:45: {table}.steps[0].to names alias `fast`, which team `o_team` may not use; it may use: smart"
        );
        assert_eq!(to(table, "fast"), [expected]);
    }
    assert!(
        to("orgs.o.budget", "fast")[0].contains("organisation `o` may not use"),
        "{:?}",
        to("orgs.o.budget", "fast")
    );
}

#[test]
fn downgrades_in_a_circle_are_named() {
    let step =
        |to: &str| format!("{{ amount = 1, period = 'day', steps = [{{ at = 0.5, do = 'downgrade', to = '{to}' }}] }}");
    let alias = |name: &str, to: &str| {
        format!("[models.alias.{name}]\ntargets = [{{ provider = 'p', model = 'm' }}]\nbudget = {}\n", step(to))
    };

    let two = faults(&format!("{}{}", alias("a", "b"), alias("b", "a")));
    assert_eq!(two, ["15:1: the downgrades go in a circle: a -> b -> a"]);
    let itself = faults(&alias("a", "a"));
    assert_eq!(itself, ["15:1: the downgrades go in a circle: a -> a"]);
    assert_eq!(faults(&format!("{}{}", alias("a", "b"), alias("b", "fast"))), Vec::<String>::new());
}

#[test]
fn two_budgets_of_one_holder_have_two_ids() {
    let found = faults("[teams.t]\nbudget = [{ amount = 5, period = 'day' }, { amount = 6, period = 'day' }]\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("14:43: budget id `day` is taken by teams.t.budget[0] (bursar.toml:14:11)"),
        "{found:?}"
    );
}

#[test]
fn a_providers_key_does_not_wait_or_go_elsewhere() {
    let keys = "keys = [{ id = 'k', value = 'sk-0123456789', \
                budget = { amount = 1, period = 'day', steps = [{ at = 0.5, do = 'downgrade' }] } }]\n";
    let found = faults(&format!("[providers.q]\nkind = 'openai_compatible'\nbase_url = 'http://b/v1'\n{keys}"));
    assert!(found.len() == 1 && found[0].contains("which a provider's key cannot do"), "{found:?}");
}

#[test]
fn budgets_need_the_books() {
    let found = faults("[teams.t.budget]\namount = 1\nperiod = 'day'\n[audit]\nenabled = false\n");
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("17:11: audit.enabled is false, but budgets count what the books record"),
        "{found:?}"
    );
    assert_eq!(faults("[audit]\nenabled = false\n"), Vec::<String>::new());
}

#[test]
fn budgets_wait_for_a_restart_that_turns_the_books_on() {
    let running = config("[audit]\nenabled = false\n");
    let wanted = config("[teams.t.budget]\namount = 1\nperiod = 'day'\n");

    assert!(reload::in_force(&running, &wanted).budgets.is_empty());
    let changes = reload::changes(&running, &wanted);
    let amount = changes.iter().find(|change| change.path == "teams.t.budget.day.amount");
    assert!(amount.is_some_and(|change| change.needs_restart), "{changes:?}");
}

#[test]
fn models_need_a_provider_tags_a_value_and_prices_their_word() {
    for (text, expected) in [
        ("[budgets.models.m]\namount = 1\nperiod = 'day'\n", "13:17: `m` does not say whose model it is"),
        ("[budgets.models.\"x/m\"]\namount = 1\nperiod = 'day'\n", "13:17: budgets.models.\"x/m\" names provider `x`"),
        ("[budgets.tags.env]\namount = 1\nperiod = 'day'\n", "13:15: `env` is no tag with its value"),
        ("[budgets]\nunpriced = 'estimate'\n", "13:2: budgets has no `unpriced_price`"),
        ("[budgets]\nunpriced_price = { input = 1, output = 1 }\n", "14:1: budgets.unpriced_price belongs to unpriced"),
        (
            "[budgets]\nunpriced = 'estimate'\nunpriced_price = { input = 1 }\n",
            "15:1: budgets.unpriced_price has no `output`",
        ),
        ("[budgets]\nqueue_max = 0\n", "14:13: budgets.queue_max is 0; it has to be at least 1"),
    ] {
        let found = faults(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn a_webhook_is_reached_by_https_or_on_this_machine() {
    let webhook = |url: &str| faults(&format!("[[budgets.webhooks]]\nurl = '{url}'\n"));
    for url in
        ["https://hooks.example.com/T0/x?sig=1", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:80/"]
    {
        assert_eq!(webhook(url), Vec::<String>::new(), "{url}");
    }
    for url in
        ["http://example.com/x", "ftp://example.com", "example.com", "https://u:p@example.com/", "https://a/#b", ""]
    {
        let found = webhook(url);
        assert!(found.len() == 1 && found[0].starts_with("14:7: budgets.webhooks[0].url "), "{url}: {found:?}");
        assert!(!found[0].contains("example"), "{found:?}");
    }
    let secret = faults("[[budgets.webhooks]]\nurl = 'https://a/b'\nsecret = 'short'\nevents = []\n");
    assert_eq!(secret.len(), 2, "{secret:?}");
    let of = |secret: &str| faults(&format!("[[budgets.webhooks]]\nurl = 'https://a/b'\nsecret = '{secret}'\n"));
    let cut = of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZ");
    assert!(cut.len() == 1 && cut[0].contains("secret begins with whsec_, but what follows is no Base64"), "{cut:?}");
    assert_eq!(of("whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="), [""; 0]);
}

#[test]
fn a_webhooks_address_and_secret_are_not_shown() {
    let text = "[[budgets.webhooks]]\nurl = 'https://hooks.example.com/T0/token'\nsecret = '0123456789abcdef'\nevents = ['block']\n";
    let config = config(text);

    assert_eq!(config.budget_policy.webhooks[0].events, [Deed::Block]);
    let shown: Vec<_> = settings(&config).into_iter().filter(|one| one.path.contains("webhooks")).collect();
    let values: Vec<_> = shown.iter().map(|one| one.value.as_str()).collect();
    assert_eq!(values, ["[\"block\"]", "…", "https://hooks.example.com"]);
    let printed = loaded(&format!("{text}evnts = 1\n"), &[]).expect_err("a fault").to_string();
    assert!(!printed.contains("token") && !printed.contains("abcdef"), "{printed}");
}

#[test]
fn settings_name_a_budget_by_its_id_and_say_where_it_was_written() {
    let config = config(
        "[teams.t.budget]\namount = 5.50\nperiod = 'day'\nsteps = [{ at = 0.85, do = 'throttle', rpm = 3 }]\n\
         [teams.u]\nbudget = [{ amount = 1, period = 'day' }, { amount = 2, id = 'all', period = 'week' }]\n",
    );

    let shown = |path: &str| {
        let all = settings(&config);
        let one = all.iter().find(|one| one.path == path).unwrap_or_else(|| panic!("no {path}"));
        format!("{} {}", one.value, one.origin)
    };
    assert_eq!(shown("teams.t.budget.day.amount"), "5.5 bursar.toml:14:10");
    assert_eq!(shown("teams.t.budget.day.timezone"), "UTC default");
    assert_eq!(shown("teams.t.budget.day.steps[0].at"), "0.85 bursar.toml:16:17");
    assert_eq!(shown("teams.u.budget.day.amount"), "1 bursar.toml:18:22");
    assert_eq!(shown("teams.u.budget.all.amount"), "2 bursar.toml:18:54");
}

#[test]
fn one_budget_can_be_changed_from_the_command_line() {
    let text = "[teams.t.budget]\namount = 5\nperiod = 'day'\n";

    let config = loaded(text, &["teams.t.budget.amount=7.25"]).unwrap_or_else(|faults| panic!("{faults}"));

    assert_eq!(team(&config, "t")[0].amount_nano, 7_250_000_000);
}
