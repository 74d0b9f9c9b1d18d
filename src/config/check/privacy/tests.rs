//! Privacy settings in configuration files, right and wrong ones, and what is told of them.

use bursar_actors::TeamId;

use crate::config::Config;
use crate::config::audit::Kept;
use crate::config::fault::{Fault, Faults};
use crate::config::load::{Sources, load};
use crate::config::privacy::{
    Action, Law, Passage, PiiPolicy, Profile, PromptPlace, Stage, Stages, StructuredCheck, usual_entities,
};
use crate::config::reload;
use crate::config::schema::{Shape, schema};
use crate::config::settings::{Setting, settings};
use crate::privacy::{Entity, EntitySet};

/// The lines before the text of a test: it begins at line 8.
const HEAD: &str = "\
[providers.p]
kind = 'openai_compatible'
base_url = 'http://a/v1'
keys = []
[models.alias.fast]
targets = [{ provider = 'p', model = 'small' }]
[teams.clinic]
";

fn loaded(text: &str) -> Result<Config, Faults> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("bursar.toml"), format!("{HEAD}{text}")).expect("a file");
    let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("none.toml"));
    load(&Sources { working_dir, system_file, ..Sources::default() })
}

fn config(text: &str) -> Config {
    loaded(text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn policy(text: &str) -> PiiPolicy {
    config(text).privacy.guardrails.pii.policy
}

/// Returns the faults of a file that ends with `text`, each as `line:column: words`.
fn faults(text: &str) -> Vec<String> {
    let faults = loaded(text).err();
    let lines = faults.iter().flat_map(Faults::iter).map(Fault::one_line);
    lines.map(|line| line.trim_start_matches("bursar.toml:").to_owned()).collect()
}

/// Returns the settings of a file that ends with `text`, below `path`, as `path = value (origin)`.
fn shown(text: &str, path: &str) -> Vec<String> {
    let own = |setting: &Setting| setting.path.starts_with(path);
    let line = |Setting { path, value, origin, .. }: Setting| format!("{path} = {value} ({origin})");
    settings(&config(text)).into_iter().filter(own).map(line).collect()
}

#[test]
fn nothing_is_looked_for_unless_somebody_says_so() {
    let config = config("");

    let privacy = &config.privacy;
    assert!(privacy.compliance.is_none() && privacy.data_classes.is_empty() && privacy.prompts.is_empty());
    let guardrails = &privacy.guardrails;
    assert_eq!((guardrails.on_error, guardrails.unscanned_parts), (Passage::Block, Passage::Allow));
    assert_eq!((guardrails.stream_window, guardrails.dry_run), (64, false));
    assert!(guardrails.rules.is_empty() && !guardrails.pii.policy.enabled);
    assert_eq!(guardrails.pii.policy.entities, usual_entities());
    assert_eq!(config.audit.content, Kept::Hash);
}

#[test]
fn a_table_of_pii_is_enough_to_look_for_the_usual_things() {
    let found = policy("[guardrails.pii]\n");

    assert!(found.enabled && found.stages == Stages::BOTH && found.min_confidence == 60);
    assert_eq!(found.action_of(Entity::Email, Stage::Input), Action::Tokenize);
    assert!(found.entities.contains(Entity::Person) && !found.entities.contains(Entity::Date));
    assert_eq!(found.locales, ["en"]);
    assert!(!policy("[guardrails.pii]\nenabled = false\n").enabled);
}

#[test]
fn a_law_says_what_nobody_else_says() {
    let law = "[compliance]\nprofile = 'hipaa'\n";

    let alone = config(law);
    let overruled =
        config(&format!("{law}[audit]\ncontent = 'full'\n[guardrails.pii]\nentities = ['email']\nenabled = false\n"));

    assert_eq!(alone.privacy.compliance, Some(Law::Hipaa));
    let policy = &alone.privacy.guardrails.pii.policy;
    assert!(policy.enabled && policy.action == Action::Tokenize);
    assert_eq!(policy.entities, Profile::Hipaa.entities());
    assert_eq!(alone.audit.content, Kept::Redacted);
    let policy = &overruled.privacy.guardrails.pii.policy;
    assert!(!policy.enabled && policy.entities == EntitySet::NONE.with(Entity::Email));
    assert_eq!(overruled.audit.content, Kept::Full);
    assert_eq!(shown(law, "audit.content")[0], "audit.content = redacted (bursar.toml:9:11)");
    assert!(shown(law, "guardrails.pii.enabled")[0].ends_with("= true (bursar.toml:9:11)"));
}

#[test]
fn profiles_add_to_entities_and_actions_go_by_entity_and_stage() {
    let found = policy(
        "[guardrails.pii]\nprofile = 'pci'\nentities = ['email']\naction = 'mask'\ndeny = ['Falcon']\n\
         [guardrails.pii.actions]\ncredit_card = 'block'\nemail = { output = 'hash' }\n",
    );

    let expected = Profile::Pci.entities().with(Entity::Email).with(Entity::Custom);
    assert_eq!(found.entities, expected);
    assert_eq!(found.action_of(Entity::CreditCard, Stage::Output), Action::Block);
    assert_eq!(found.action_of(Entity::Email, Stage::Input), Action::Mask);
    assert_eq!(found.action_of(Entity::Email, Stage::Output), Action::Hash);
}

#[test]
fn teams_inherit_what_they_do_not_say() {
    let text = "[guardrails.pii]\nmin_confidence = 0.85\ndeny = ['Falcon']\nactions = { ssn = 'block', email = 'hash' }\n\
                [[guardrails.pii.teams]]\nteam = ['clinic']\norg = ['health']\naction = 'flag'\nallow = ['*@clinic.example']\n\
                actions = { email = { input = 'allow' } }\n";

    let config = config(text);

    let pii = &config.privacy.guardrails.pii;
    let [own] = pii.teams.as_slice() else { panic!("{:?}", pii.teams) };
    assert_eq!((own.teams.as_slice(), own.orgs.len()), ([TeamId::from("clinic")].as_slice(), 1));
    let clinic = &own.policy;
    assert_eq!((clinic.min_confidence, clinic.entities), (85, pii.policy.entities));
    assert_eq!((clinic.deny.as_slice(), clinic.allow.len()), (["Falcon".to_owned()].as_slice(), 1));
    let of = |entity, stage| clinic.action_of(entity, stage);
    assert_eq!((of(Entity::Ssn, Stage::Input), of(Entity::Phone, Stage::Input)), (Action::Block, Action::Flag));
    assert_eq!((of(Entity::Email, Stage::Input), of(Entity::Email, Stage::Output)), (Action::Allow, Action::Hash));
}

#[test]
fn classes_prompts_and_rules_are_taken_as_written() {
    let config = config(
        "[providers.own]\nkind = 'vllm'\nbase_url = 'http://b/v1'\n\
         [data_classes.phi]\nfrom = { findings = ['mrn', 'person'], teams = ['clinic'], header = 'X-Data-Class' }\n\
         require = { self_hosted = true }\n\
         [[prompts]]\nname = 'house rules'\nwhen = { team = ['clinic'], route = ['fast'] }\nplace = 'system_append'\ntext = 'Be kind.'\n\
         [guardrails]\non_error = 'allow'\nstream_window = 16\nunscanned_parts = 'block'\ndry_run = true\n\
         [[guardrails.pii.custom]]\nname = 'customer_number'\npattern = 'CUST-\\d{8}'\n\
         [[guardrails.rules]]\nname = 'no secrets'\ndetect = ['api_key', 'injection', 'terms', 'patterns']\nterms = ['x']\npatterns = ['y+']\n\
         threshold = 0.9\nmessage = 'No.'\nroutes = ['fast']\n\
         [[guardrails.rules]]\nname = 'subject'\ndetect = ['terms', 'languages']\nterms = ['x', 'y']\nat_least = 2\nlanguages = ['en', 'de']\n\
         [[guardrails.rules]]\nname = 'noted'\ndetect = ['jwt']\naction = 'flag'\nstage = ['output']\n",
    );

    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told, Vec::<String>::new());
    let class = &config.privacy.data_classes["phi"];
    assert!(class.self_hosted && class.findings.contains(Entity::Mrn) && class.teams.contains(&TeamId::from("clinic")));
    assert_eq!(class.header.as_ref().map(|header| header.as_str()), Some("x-data-class"));
    let prompt = &config.privacy.prompts[0];
    assert_eq!(
        (prompt.place, prompt.text.as_str(), prompt.audience.routes.len()),
        (PromptPlace::SystemAppend, "Be kind.", 1)
    );
    let guardrails = &config.privacy.guardrails;
    assert_eq!((guardrails.on_error, guardrails.unscanned_parts), (Passage::Allow, Passage::Block));
    assert!(guardrails.dry_run && guardrails.stream_window == 16);
    assert!(guardrails.pii.policy.enabled && guardrails.pii.custom[0].action.is_none());
    let [first, subject, second] = guardrails.rules.as_slice() else { panic!("{:?}", guardrails.rules) };
    assert_eq!((first.injection, first.action, first.stages), (Some(90), Action::Block, Stages::INPUT));
    assert_eq!((subject.at_least, subject.languages.len(), first.at_least), (2, 2, 1));
    assert_eq!((second.injection, second.action), (None, Action::Flag));
    assert!(second.stages.output && !second.stages.input && second.entities.contains(Entity::Jwt));
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let found = faults(
        "[data_classes.phi]\nfrom = { header = 'x data' }\n\
         [[prompts]]\nname = 'a'\ntext = ' '\n[[prompts]]\nname = 'a'\ntext = 'b'\nwhen = { route = ['fats'] }\n\
         [guardrails]\nstream_window = 8\n\
         [guardrails.pii]\nentities = ['emial']\nmin_confidence = 1.5\nactions = { emial = 'mask', ssn = 'maks' }\n\
         [[guardrails.rules]]\nname = 'r'\ndetect = ['injektion', 'terms']\n",
    );

    let expected = [
        "8:15: data_classes.phi requires nothing, so that it only marks requests",
        "9:19: data_classes.phi.from.header: `x data` is not the name of a header",
        "12:8: prompts[0].text is empty",
        "14:8: name `a` is taken by prompts[0] (bursar.toml:10:1)",
        "16:19: prompts[1].when.route[0] names alias `fats`, which is not defined; defined: fast (did you mean `fast`?)",
        "18:17: guardrails.stream_window is 8; it is a number of characters, from 16 to 1024",
        "20:13: guardrails.pii.entities[0] is `emial`, which is not one of: email, phone",
        "21:18: guardrails.pii.min_confidence is 1.5; it is a share, from 0 to 1",
        "22:21: guardrails.pii.actions.emial: `emial` is no entity; there are: email, phone",
        "22:35: guardrails.pii.actions.ssn is `maks`, which is not one of: allow, flag, mask, tokenize, hash, block",
        "23:1: guardrails.rules[0] has no `terms`",
        "25:11: guardrails.rules[0].detect[0] is `injektion`, which is not one of: injection, terms, patterns, languages, email",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    for (index, near) in [(6, "email"), (8, "email"), (9, "mask"), (11, "injection")] {
        assert!(found[index].ends_with(&format!("did you mean `{near}`?")), "{}", found[index]);
    }
}

#[test]
fn what_could_never_work_is_refused() {
    let rule = "[[guardrails.rules]]\nname = 'r'\ndetect = ['jwt']\n";
    let custom = "[[guardrails.pii.custom]]\nname = 'c'\n";
    for (text, expected) in [
        ("[data_classes.phi]\nrequire = { self_hosted = false }\n".to_owned(), "data_classes.phi.from names nothing"),
        ("[data_classes.P]\nfrom = { teams = ['clinic'] }\n".to_owned(), "`P` is not an id"),
        ("[data_classes.p]\nfrom = { header = 'Cookie' }\n".to_owned(), "header `cookie` carries a secret"),
        ("[[prompts]]\ntext = 'x'\n".to_owned(), "prompts[0] has no `name`"),
        ("[[prompts]]\nname = 'x'\n".to_owned(), "prompts[0] has no `text`"),
        ("[[prompts]]\nname = ' x'\ntext = 'x'\n".to_owned(), "` x` is not a name"),
        ("[guardrails]\nstream_window = 1025\n".to_owned(), "guardrails.stream_window is 1025"),
        ("[guardrails.pii]\nstage = []\n".to_owned(), "guardrails.pii.stage is empty"),
        ("[guardrails.pii]\nstage = ['middle']\n".to_owned(), "guardrails.pii.stage[0] is `middle`"),
        ("[guardrails.pii]\nentities = []\n".to_owned(), "guardrails.pii.entities is empty"),
        ("[guardrails.pii]\nprofile = 'hippa'\n".to_owned(), "guardrails.pii.profile is `hippa`"),
        ("[guardrails.pii]\nallow = ['**']\n".to_owned(), "would leave everything alone"),
        ("[guardrails.pii]\ndeny = ['']\n".to_owned(), "guardrails.pii.deny[0] is empty"),
        ("[guardrails.pii]\nlocales = ['english']\n".to_owned(), "`english` is no language"),
        ("[guardrails.pii]\nactions = { ssn = {} }\n".to_owned(), "guardrails.pii.actions.ssn names no action"),
        (
            format!("{custom}pattern = '(a'\n"),
            "guardrails.pii.custom[0].pattern is not a regular expression: unclosed group",
        ),
        (format!("{custom}pattern = 'a*'\n"), "matches even where there is nothing"),
        (format!("{custom}pattern = '\\w{{5000}}'\n"), "is too large a pattern"),
        (custom.to_owned(), "guardrails.pii.custom[0] has no `pattern`"),
        (format!("{custom}pattern = 'x'\n{custom}pattern = 'y'\n"), "name `c` is taken by guardrails.pii.custom[0]"),
        ("[[guardrails.pii.custom]]\nname = 'iban'\npattern = 'x'\n".to_owned(), "`iban` is an entity already"),
        ("[[guardrails.pii.teams]]\naction = 'mask'\n".to_owned(), "guardrails.pii.teams[0] has no `team`"),
        (
            "[[guardrails.pii.teams]]\nteam = ['clinic']\n[[guardrails.pii.teams]]\nteam = ['clinic']\n".to_owned(),
            "team `clinic` has a policy already, by guardrails.pii.teams[0].team[0]",
        ),
        (format!("{rule}{rule}"), "name `r` is taken by guardrails.rules[0]"),
        ("[[guardrails.rules]]\nname = 'r'\n".to_owned(), "guardrails.rules[0] has no `detect`"),
        (format!("{rule}terms = ['x']\n"), "guardrails.rules[0].terms belongs to `terms`"),
        (format!("{rule}patterns = ['x']\n"), "guardrails.rules[0].patterns belongs to `patterns`"),
        (format!("{rule}threshold = 0.5\n"), "guardrails.rules[0].threshold belongs to `injection`"),
        (format!("{rule}action = 'flag'\nmessage = 'x'\n"), "guardrails.rules[0].message belongs to action"),
        (format!("{rule}action = 'hash'\n"), "guardrails.rules[0].action is `hash`"),
        (rule.replace("jwt", "injection") + "action = 'mask'\n", "guardrails.rules[0].action is `mask`, but"),
        (
            rule.replace("jwt", "injection") + "stage = ['output']\n",
            "guardrails.rules[0].stage has `output`, but `injection`",
        ),
        (
            rule.replace("jwt", "languages") + "languages = ['klingon']\n",
            "guardrails.rules[0].languages[0] is `klingon`, which is not one of: af, am",
        ),
        (rule.replace("jwt", "languages"), "guardrails.rules[0] has no `languages`"),
        (
            rule.replace("jwt", "terms") + "terms = ['x']\nat_least = 2\n",
            "guardrails.rules[0].at_least is 2; it is a number",
        ),
        (format!("{rule}at_least = 1\n"), "guardrails.rules[0].at_least belongs to `terms`"),
        (rule.replace("jwt", "injection") + "threshold = 0\n", "guardrails.rules[0].threshold is 0"),
        (rule.replace("jwt", "patterns") + "patterns = ['[']\n", "guardrails.rules[0].patterns[0] is not a regular"),
    ] {
        let found = faults(&text);
        assert!(found.iter().filter(|line| line.contains(expected)).count() == 1, "{text}: {found:#?}");
        let warnings = found.iter().filter(|line| line.contains("so that it only marks")).count();
        assert_eq!(found.len() - warnings, 1, "{text}: {found:#?}");
    }
}

#[test]
fn what_may_be_meant_is_a_warning() {
    for (text, expected) in [
        (
            "[data_classes.phi]\nfrom = { teams = ['clinic'] }\nrequire = { self_hosted = true }\n",
            "data_classes.phi.require.self_hosted leaves nobody to serve such requests: no provider is self-hosted",
        ),
        ("[data_classes.phi]\nfrom = { teams = ['clinic'] }\n", "data_classes.phi requires nothing"),
        (
            "[[prompts]]\nname = 'x'\ntext = 'x'\nwhen = { team = ['clinik'] }\n",
            "prompts[0].when.team[0] names team `clinik`, which no file defines: it counts once the team is made; \
             did you mean `clinic`?",
        ),
        ("[[guardrails.pii.teams]]\nteam = ['a']\n", "guardrails.pii.teams[0].team[0] names team `a`"),
        (
            "[guardrails.pii]\nentities = ['email']\nactions = { ssn = 'block' }\n",
            "guardrails.pii.actions.ssn says what is done with `ssn`, which is not looked for",
        ),
    ] {
        let warnings = config(text).warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{text}: {warnings:#?}");
    }
}

#[test]
fn settings_are_listed_by_name_and_terms_are_not_told() {
    let text = "[[prompts]]\nname = 'house rules'\ntext = \"\"\"a\nb\"\"\"\n\
                [guardrails.pii]\nprofile = 'secrets'\ndeny = ['Project Falcon']\n\
                [[guardrails.rules]]\nname = 'r'\ndetect = ['terms']\nterms = ['Project Eagle']\n";

    let all = shown(text, "");

    for expected in [
        "prompts.\"house rules\".text = \"a\\nb\" (bursar.toml:10:8)",
        "prompts.\"house rules\".place = system_prepend (default)",
        "guardrails.pii.entities = [\"password\", \"api_key\", \"private_key\", \"jwt\", \"custom\"] (bursar.toml:13:11)",
        "guardrails.pii.deny = … (bursar.toml:14:8)",
        "guardrails.pii.min_confidence = 0.6 (default)",
        "guardrails.rules.r.detect = [\"terms\"] (bursar.toml:17:10)",
        "guardrails.rules.r.terms = … (bursar.toml:18:9)",
    ] {
        assert!(all.iter().any(|line| line == expected), "{expected}\n{all:#?}");
    }
    assert!(all.iter().all(|line| !line.contains("Falcon") && !line.contains("Eagle")));
}

#[test]
fn everything_but_the_books_takes_effect_without_a_restart() {
    let running = config("[guardrails.pii]\ndeny = ['a']\n");
    let wanted =
        config("[compliance]\nprofile = 'gdpr'\n[guardrails.pii]\ndeny = ['b']\n[guardrails]\ndry_run = true\n");

    let changes = reload::changes(&running, &wanted);
    let in_force = reload::in_force(&running, &wanted);

    let waits: Vec<_> =
        changes.iter().filter(|change| change.needs_restart).map(|change| change.path.as_str()).collect();
    assert_eq!(waits, ["audit.content"]);
    assert!(changes.iter().any(|change| change.path == "guardrails.pii.deny"), "{changes:?}");
    assert_eq!(in_force.privacy, wanted.privacy);
    assert_eq!(in_force.audit.content, Kept::Hash);
}

#[test]
fn editors_are_offered_the_entities_that_there_are() {
    let Shape::Table(keys) = schema() else { panic!("no table") };
    let Shape::Table(keys) = &keys["guardrails"] else { panic!("no table") };
    let Shape::Table(keys) = &keys["pii"] else { panic!("no table") };
    let Shape::List(item) = &keys["entities"] else { panic!("no list") };

    let names: Vec<&str> = Entity::all().map(Entity::as_str).collect();

    assert!(matches!(&**item, Shape::Choice(words) if *words == names), "{item:?}");
}

#[test]
fn a_machine_of_ones_own_at_a_public_address_is_asked_about() {
    let told = |url: &str, more: &str| {
        let text = format!("[providers.own]\nkind = 'vllm'\nbase_url = '{url}'\n{more}");
        config(&text).warnings.iter().filter(|told| told.to_string().contains("looks like a public")).count()
    };
    for url in
        ["http://localhost:1/v1", "http://gpu-3/v1", "http://10.0.0.7/v1", "http://llm.ml.svc/v1", "http://[::1]/v1"]
    {
        assert_eq!(told(url, ""), 0, "{url}");
    }
    for url in ["https://llm.example.com/v1", "http://203.0.113.7/v1"] {
        assert_eq!((told(url, ""), told(url, "self_hosted = false\n")), (1, 0), "{url}");
    }
}

#[test]
fn who_is_asked_and_what_answers_have_to_be_like_is_taken_as_written() {
    let text = "[guardrails]\non_error = 'allow'\n\
                [guardrails.structured_output]\ncheck = 'block'\nrepair = false\nroutes = ['fast']\n\
                [[guardrails.webhooks]]\nname = 'dlp'\nurl = 'https://dlp.example.com/T0/review'\nsecret = '0123456789abcdef'\n\
                token = 'a-bearer'\ntimeout = '500ms'\nstream_window = 64\nteams = ['clinic']\n\
                [[guardrails.webhooks]]\nname = 'near'\nurl = 'http://127.0.0.1:9/'\nstage = ['output']\non_error = 'block'\n";

    let config = config(text);

    let guardrails = &config.privacy.guardrails;
    let structured = &guardrails.structured_output;
    assert_eq!((structured.check, structured.repair), (StructuredCheck::Block, false));
    assert_eq!(structured.audience.routes, ["fast"]);
    let [dlp, near] = guardrails.webhooks.as_slice() else { panic!("{:?}", guardrails.webhooks) };
    assert_eq!((dlp.on_error, near.on_error), (Passage::Allow, Passage::Block));
    assert_eq!((dlp.timeout.as_millis(), near.timeout.as_millis()), (500, 2_000));
    assert_eq!((dlp.stages, dlp.stream_window, near.stream_window), (Stages::BOTH, 64, 400));
    let shown: Vec<_> = settings(&config).into_iter().filter(|one| one.path.contains("webhooks")).collect();
    let all = format!("{shown:?}");
    assert!(
        all.contains("https://dlp.example.com") && !["T0", "abcdef", "a-bearer"].iter().any(|word| all.contains(word))
    );
}

#[test]
fn a_webhook_that_cannot_be_asked_is_refused() {
    let hook = "[[guardrails.webhooks]]\nname = 'dlp'\nurl = 'https://a/b'\n";
    for (text, expected) in [
        (hook.replace("https", "http"), "guardrails.webhooks[0].url has to start with https"),
        (hook.replace("url = 'https://a/b'\n", ""), "guardrails.webhooks[0] has no `url`"),
        (format!("{hook}timeout = '1m'\n"), "guardrails.webhooks[0].timeout is 60s; it is from 50ms to 30s"),
        (format!("{hook}stream_window = 5\n"), "guardrails.webhooks[0].stream_window is 5; it is a number"),
        (format!("{hook}token = 'a b'\n"), "guardrails.webhooks[0].token is empty, or holds what no token has"),
        (format!("{hook}{hook}"), "name `dlp` is taken by guardrails.webhooks[0]"),
        (
            format!("[[guardrails.rules]]\nname = 'dlp'\ndetect = ['jwt']\n{hook}"),
            "name `dlp` is taken by guardrails.rules[0]",
        ),
        (
            "[guardrails.structured_output]\ncheck = 'maybe'\n".to_owned(),
            "guardrails.structured_output.check is `maybe`",
        ),
    ] {
        let found = faults(&text);
        assert!(found.iter().filter(|line| line.contains(expected)).count() == 1, "{text}: {found:#?}");
    }
}
