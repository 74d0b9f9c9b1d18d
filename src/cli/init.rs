//! `bursar init`: writes a first `bursar.toml` that fits what the environment has.
//!
//! Keys are written as references (`${OPENAI_API_KEY}`), never as values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::load::Sources;
use crate::config::units;
use crate::config::{ProviderKind, discover};

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file to write, relative to the working directory.
    pub path: PathBuf,
    /// Whether to replace a file that exists.
    pub existing: Existing,
    /// Whether there is somebody to ask: `Nobody` for `--yes` or without a terminal.
    pub asking: Asking,
}

impl Default for Options {
    fn default() -> Self {
        Self { path: PathBuf::from("bursar.toml"), existing: Existing::Keep, asking: Asking::Nobody }
    }
}

/// What happens to a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Keep,
    /// `--force`.
    Replace,
}

/// Whether questions can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    Terminal,
    Nobody,
}

/// What the answers come to.
struct Plan {
    listen: String,
    providers: Vec<ProviderKind>,
    /// The base URL of a server of one's own.
    local: Option<String>,
    data: Option<String>,
}

/// Writes the file and says so on `output`. Asks on `output` and reads answers from `input`; an empty answer or the
/// end of the input means the default. Returns 1 where a file is in the way.
pub fn run(
    options: &Options,
    sources: &Sources,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<ExitCode> {
    let path = sources.working_dir.join(&options.path);
    let name = options.path.display();
    if options.existing == Existing::Keep && path.exists() {
        writeln!(output, "{name} is there already; --force replaces it")?;
        return Ok(ExitCode::FAILURE);
    }
    let environment: BTreeMap<&str, &str> =
        sources.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut plan = plan(options.asking, &environment, input, output)?;
    if let Some(listen) = &sources.listen {
        plan.listen.clone_from(listen);
    }
    plan.data = sources.data.as_ref().map(|data| data.display().to_string());
    let text = starter(&plan, &environment);
    match options.existing {
        Existing::Replace => std::fs::write(&path, text)?,
        // `create_new` also keeps a file that came into being while the questions were asked.
        Existing::Keep => std::fs::File::create_new(&path)?.write_all(text.as_bytes())?,
    }
    writeln!(output, "wrote {name}; check it with `bursar check`, then start with `bursar`")?;
    Ok(ExitCode::SUCCESS)
}

fn plan(
    asking: Asking,
    environment: &BTreeMap<&str, &str>,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<Plan> {
    let found = ProviderKind::ALL.iter().copied().filter(|kind| variable(*kind, environment).is_some());
    let mut plan = Plan { listen: "127.0.0.1:8080".to_owned(), providers: found.collect(), local: None, data: None };
    if asking == Asking::Nobody {
        return Ok(plan);
    }
    let mut wanted = Vec::new();
    for &kind in &plan.providers {
        let variable = variable(kind, environment).unwrap_or_default();
        let answer = ask(&format!("use {} with ${variable}? [Y/n]", kind.as_str()), input, output)?;
        if !answer.to_ascii_lowercase().starts_with('n') {
            wanted.push(kind);
        }
    }
    plan.providers = wanted;
    plan.local = ask_until(
        "base URL of a server of your own, such as http://127.0.0.1:8000/v1 [none]",
        input,
        output,
        |text| units::base_url(text).map_err(|why| format!("it {why}")),
    )?;
    let port = "address to listen on [127.0.0.1:8080]";
    let listen = ask_until(port, input, output, |text| match units::address(text)? {
        address if address.ip().is_loopback() => Ok(address.to_string()),
        _ => Err("an address that others reach needs a client key; start on 127.0.0.1 and change it later".to_owned()),
    })?;
    plan.listen = listen.unwrap_or(plan.listen);
    Ok(plan)
}

fn ask(question: &str, input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<String> {
    write!(output, "{question} ")?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks until `read` accepts the answer; `None` where the answer is empty.
fn ask_until(
    question: &str,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    read: impl Fn(&str) -> Result<String, String>,
) -> io::Result<Option<String>> {
    loop {
        let answer = ask(question, input, output)?;
        if answer.is_empty() {
            return Ok(None);
        }
        match read(&answer) {
            Ok(value) => return Ok(Some(value)),
            Err(why) => writeln!(output, "{why}")?,
        }
    }
}

/// Returns the variable that holds the provider's key or keys, if one is set and it is known where the provider is.
fn variable(kind: ProviderKind, environment: &BTreeMap<&str, &str>) -> Option<String> {
    let get = |name: &str| environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let variable = kind.variable()?;
    discover::place(kind, &get)?;
    [variable.to_owned(), format!("{variable}S")].into_iter().find(|name| get(name).is_some())
}

fn starter(plan: &Plan, environment: &BTreeMap<&str, &str>) -> String {
    let mut text = String::from(
        "# Bursar's settings. config/bursar.toml in the source shows every key with its default.\n\
         # Check this file with: bursar check\n\nversion = 1\n\n[server]\n",
    );
    let listen = toml::Value::String(plan.listen.clone());
    _ = writeln!(text, "listen = {listen}    # on loopback nobody else reaches it, so no key is asked");
    if let Some(data) = &plan.data {
        _ = writeln!(text, "\n[storage]\npath = {}", toml::Value::String(data.clone()));
    }
    for &kind in &plan.providers {
        text.push_str(&provider_table(kind, environment));
    }
    if let Some(local) = &plan.local {
        let base_url = toml::Value::String(local.clone());
        _ = write!(
            text,
            "\n[providers.local]\nkind = \"openai_compatible\"\nbase_url = {base_url}\nself_hosted = true\n\
             keys = []    # no key needed\n"
        );
    }
    if plan.providers.is_empty() && plan.local.is_none() {
        text.push_str(
            "\n# No API key was found. The demo provider answers without one; replace it with a provider of yours.\n\
             [providers.demo]\nkind = \"demo\"\n\n[models]\ndefault = \"auto\"\n\n[models.alias.auto]\n\
             targets = [{ provider = \"demo\", model = \"demo-small\" }]\n",
        );
        return text;
    }
    let first = plan.providers.first().map_or("local", |provider| provider.as_str());
    _ = write!(
        text,
        "\n# Clients can ask for provider/model at once. An alias is a name of your own:\n\
         # [models.alias.fast]\n# targets = [{{ provider = \"{first}\", model = \"the-model\" }}]\n"
    );
    text
}

fn provider_table(kind: ProviderKind, environment: &BTreeMap<&str, &str>) -> String {
    let (id, name) = (kind.as_str(), kind.variable().unwrap_or_default());
    let get = |name: &str| environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let place = discover::place(kind, &get).flatten();
    let place = place.map(|(key, value)| format!("{key} = {}\n", toml::Value::String(value))).unwrap_or_default();
    let head = format!("\n[providers.{id}]\nkind = \"{id}\"\n{place}");
    if variable(kind, environment).as_deref() == Some(name) {
        return format!("{head}\n[[providers.{id}.keys]]\nid = \"main\"\nvalue = \"${{{name}}}\"\n");
    }
    format!("{head}key_pool = {{ id = \"pool\", value = \"${{{name}S}}\" }}\n")
}
