//! Which way a request takes to one upstream and its answer back: as it stands, or translated.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use bursar_actors::{ErrorClass, Usage};
use bytes::Bytes;

use super::flow::{ChatFlow, Flow, PassFlow, TranslateFlow};
use super::translation::{Goal, Thoughts, Translation, unusable};
use crate::call::Call;
use crate::error::Failure;
use crate::providers::announced::Announced;
use crate::providers::anthropic::own_history;
use crate::providers::dialect::{CountingDialect, EmbeddingsDialect, ModelFacts, Nonsense, Target, WireRequest};
use crate::providers::openai::{Finish, Quirks, encode, fit_thinking, repair_whole, whole_facts};
use crate::providers::signatures::Signatures;
use crate::providers::{clients, gemini, passing, responses};
use crate::schema::chat::ChatRequest;
use crate::schema::embeddings::EmbeddingRequest;
use crate::schema::{self, IntakeError, Operation, RequestHead};
use crate::upstream::judge;
use crate::upstream::{Destination, Outgoing};

/// The way.
pub enum Way {
    /// OpenAI's dialect on both sides: mended where an upstream would break a client.
    Chat,
    /// Another dialect on both sides.
    Pass,
    Translate(Translation),
    /// Embeddings of an upstream that has them in a form of its own.
    Embed(Rc<EmbeddingRequest>, &'static dyn EmbeddingsDialect),
}

/// The client's request, read at most once for all attempts, and only if one of them has to translate it.
#[derive(Default)]
pub struct Asked {
    request: OnceCell<Result<Rc<ChatRequest>, IntakeError>>,
    /// What all further calls take along of the history's thoughts.
    pub thoughts: Thoughts,
}

/// A whole answer, as the client gets it.
pub struct Whole {
    pub body: Bytes,
    pub usage: Option<Usage>,
    /// Why its first choice ended, as [`Finish::as_str`](schema::chat::Finish::as_str) says it; embeddings do not end.
    pub finish: Option<&'static str>,
}

/// A call, ready to be made.
pub struct Prepared {
    pub outgoing: Outgoing,
    pub way: Way,
    /// What the upstream does not get of the request.
    pub warnings: Vec<String>,
}

/// What a call is made to.
pub struct Aim<'a> {
    pub to: &'a Destination,
    /// The upstream's name of the model.
    pub model: &'a str,
    pub facts: &'a ModelFacts,
    /// Refuse what would be lost, instead of warning.
    pub strict: bool,
    /// The answer may be gone on from by what the gateway keeps of it.
    pub kept: bool,
    pub signatures: &'a Arc<Signatures>,
}

/// Returns the call to make for `call`, and the way of its answer.
pub fn prepare(call: &Call, asked: &Asked, aim: &Aim<'_>) -> Result<Prepared, Failure> {
    let (head, to, model) = (&call.head, aim.to, aim.model);
    let passes = to.format.passes(head.operation);
    if passes && !(asked.thoughts == Thoughts::None && has_thoughts(head.operation)) {
        return pass(call, aim);
    }
    let target = Target { model, model_facts: aim.facts, strict: aim.strict };
    if head.operation.embeds()
        && let Some(upstream) = to.format.upstream.embeddings()
    {
        let request = clients::read_embeddings(head.operation, &call.body);
        // What no other upstream can embed, Google's own may, to whom such a request passes unread.
        let request = request.map_err(if head.operation == Operation::Embeddings { refused } else { inexpressible });
        let request = Rc::new(request?);
        let wire = upstream.encode(&request, &target).map_err(inexpressible)?;
        return written(to, wire, model, Way::Embed(request, upstream));
    }
    if head.operation.embeds() {
        return Err(no_route(to));
    }
    let request = asked.request.get_or_init(|| Translation::read(call)).clone();
    // A prompt that is no chat may still suit an upstream that completes text.
    let request = request.map_err(if head.operation == Operation::Completions { inexpressible } else { refused })?;
    let goal = Goal { dialect: to.format.dialect, upstream: to.format.upstream, model, thoughts: asked.thoughts };
    let translation = Translation::new(call, request, &goal, aim.signatures);
    let mut wire = translation.upstream.encode(&translation.request, &target).map_err(inexpressible)?;
    wire.warnings.splice(0..0, translation.request.lost.iter().cloned());
    let mut prepared = written(to, wire, model, Way::Translate(translation))?;
    if passes {
        prepared.outgoing.headers.extend(call.forwarded.iter().cloned());
    }
    Ok(prepared)
}

/// Returns whether requests for `operation` may hold signed thoughts where they pass as they stand.
fn has_thoughts(operation: Operation) -> bool {
    matches!(operation, Operation::Messages | Operation::GenerateContent | Operation::Responses)
}

/// Returns the call whose body is the client's own, but for the model's name and what the upstream would refuse of it.
fn pass(call: &Call, aim: &Aim<'_>) -> Result<Prepared, Failure> {
    let (head, to, model) = (&call.head, aim.to, aim.model);
    let openai = matches!(head.operation, Operation::ChatCompletions | Operation::Completions | Operation::Embeddings);
    let fits = to.format.openai_models && head.operation == Operation::ChatCompletions;
    let fitted = fits.then(|| fit_thinking(&call.body, model, aim.facts)).flatten();
    let (body, warnings) = match fitted {
        Some((body, warnings)) => {
            let head = schema::read(head.operation, &body).map_err(refused)?;
            (encode(&body, &head, model, Quirks::default()), warnings)
        }
        None => (own_body(call, aim)?, vec![]),
    };
    let outgoing = to.passing(head.operation, model, head.stream, body);
    let mut outgoing = outgoing.ok_or_else(|| no_address(model))?;
    outgoing.headers.extend(call.forwarded.iter().cloned());
    Ok(Prepared { outgoing, way: if openai { Way::Chat } else { Way::Pass }, warnings })
}

/// Returns the client's own body for an upstream of the same dialect.
fn own_body(call: &Call, aim: &Aim<'_>) -> Result<Bytes, Failure> {
    let (head, model) = (&call.head, aim.model);
    if head.operation.embeds() && head.operation.has_model_in_path() {
        return Ok(gemini::own_embeddings(&call.body, model));
    }
    // Thoughts of other vendors that stand in an Anthropic client's history.
    let cleaned = (head.operation == Operation::Messages).then(|| own_history(&call.body)).flatten();
    // The upstream keeps nothing of it, so what it thought comes back only if it gives it out.
    let thoughtful = (aim.kept && head.operation == Operation::Responses && aim.facts.reasoning != Some(false))
        .then(|| responses::with_encrypted_thoughts(&call.body).into());
    if let Some(cleaned) = cleaned.or(thoughtful) {
        let head = schema::read(head.operation, &cleaned).map_err(refused)?;
        return Ok(encode(&cleaned.into(), &head, model, Quirks::default()));
    }
    // Google's clients name the model in the path, so nothing stands for it in the body.
    let in_path = head.model.as_deref().filter(|_| head.operation.has_model_in_path());
    Ok(encode(&call.body, head, in_path.unwrap_or(model), Quirks::default()))
}

/// Returns the question how many tokens `request`, which `call` came with, has, and who reads the answer.
pub fn question(
    call: &Call,
    request: Rc<ChatRequest>,
    aim: &Aim<'_>,
) -> Result<(Outgoing, &'static dyn CountingDialect), Failure> {
    let (to, model) = (aim.to, aim.model);
    let upstream = to.format.upstream.counting().ok_or_else(|| no_route(to))?;
    let goal = Goal { dialect: to.format.dialect, upstream: to.format.upstream, model, thoughts: Thoughts::default() };
    let target = Target { model, model_facts: aim.facts, strict: false };
    let translation = Translation::new(call, request, &goal, aim.signatures);
    let mut wire = upstream.question(&translation.request, &target).map_err(inexpressible)?;
    // Anthropic's clients ask the very question that Anthropic answers, possibly with betas that nobody here knows.
    let own = call.head.operation == Operation::Messages && to.format.passes(Operation::Messages);
    if own {
        wire.body = own_body(call, aim)?;
    }
    let mut outgoing = to.written(wire, model).ok_or_else(|| no_address(model))?;
    outgoing.headers.extend(call.forwarded.iter().filter(|_| own).cloned());
    Ok((outgoing, upstream))
}

fn written(to: &Destination, mut wire: WireRequest, model: &str, way: Way) -> Result<Prepared, Failure> {
    let warnings = std::mem::take(&mut wire.warnings);
    let outgoing = to.written(wire, model).ok_or_else(|| no_address(model))?;
    Ok(Prepared { outgoing, way, warnings })
}

impl Way {
    /// Returns whether the call can be made again without signed thoughts: not where OpenAI's own body passes, which has none.
    pub fn may_leave_thoughts_out(&self) -> bool {
        matches!(self, Self::Pass | Self::Translate(_))
    }

    /// Begins a streamed answer. What an earlier upstream has `announced` is not announced again, and holds for this one.
    pub fn flow(&self, head: &RequestHead, announced: Option<Announced>) -> Box<dyn Flow> {
        match self {
            Self::Chat | Self::Embed(..) => Box::new(ChatFlow::new(head, announced)),
            Self::Pass => Box::new(PassFlow::new(passing::reader(head.operation), announced)),
            Self::Translate(translation) => Box::new(TranslateFlow::new(translation.clone(), announced)),
        }
    }

    /// Returns a whole answer as the client gets it.
    pub fn whole(&self, head: &RequestHead, body: Bytes) -> Result<Whole, Failure> {
        match self {
            Self::Chat => {
                let facts = whole_facts(head.operation, &body)
                    .map_err(|malformed| unusable(&Nonsense::of(malformed.to_string())))?;
                if facts.error_in_200 {
                    return Err(judge::judge_error_value(&body));
                }
                let (mut body, mut finish) = (body, facts.finish);
                if facts.needs_repair {
                    body = repair_whole(&body);
                    // The repair may have put in another reason.
                    finish = whole_facts(head.operation, &body).map_or(finish, |repaired| repaired.finish);
                }
                Ok(Whole { body, usage: facts.usage, finish: finish.map(Finish::as_str) })
            }
            Self::Pass => {
                let whole = passing::whole(head.operation, &body).map_err(|nonsense| unusable(&nonsense))?;
                if whole.error {
                    return Err(judge::judge_error_value(&body));
                }
                Ok(Whole { body, usage: whole.usage, finish: whole.finish })
            }
            Self::Translate(translation) => translation.whole(&body),
            Self::Embed(request, upstream) => {
                let reply = upstream.decode(&body, request).map_err(|nonsense| unusable(&nonsense))?;
                let body = clients::write_embeddings(head.operation, &reply, request);
                Ok(Whole { body, usage: reply.usage, finish: None })
            }
        }
    }
}

fn refused(error: IntakeError) -> Failure {
    let IntakeError { message, param, code } = error;
    let kind = Some("invalid_request_error".to_owned());
    Failure {
        status: Some(400),
        kind,
        param,
        code: code.map(str::to_owned),
        ..Failure::plain(ErrorClass::ClientInvalid, message)
    }
}

/// This upstream has no words for it; another may.
fn inexpressible(error: IntakeError) -> Failure {
    Failure { class: ErrorClass::Inexpressible, ..refused(error) }
}

fn no_route(to: &Destination) -> Failure {
    let message = format!("`{}` has no such route; ask for a model of another provider", to.provider);
    inexpressible(IntakeError { message, param: Some("model".into()), code: Some("unsupported_operation") })
}

fn no_address(model: &str) -> Failure {
    let message = format!("no address can be made of the model's name ({} bytes)", model.len());
    Failure::plain(ErrorClass::ConfigMissing, message)
}
