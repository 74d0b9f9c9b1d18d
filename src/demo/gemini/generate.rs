//! The answer to generateContent, whole and streamed, and to countTokens.

use serde_json::{Value, json};

use super::super::cache::Part;
use super::super::dialect::Arrival;
use super::super::dice::Dice;
use super::super::models::overflows;
use super::super::reply::{JSON, Pace, Piece, Refusal, Reply};
use super::super::speech::{self, Answer, End, Question};
use super::super::text;
use super::request::{Generate, shaped};
use super::turns::{signed_call, signed_text};
use super::{DIALECT, shapes, signs, too_long, wrong};

/// Tokens that each content costs beyond its parts.
const TOKENS_PER_CONTENT: usize = 3;
/// Tokens that an image, a file or a sound costs.
const TOKENS_PER_ATTACHMENT: usize = 258;
/// Least length of a beginning that comes from the cache.
const MIN_CACHED: usize = 1024;

/// Answers `:countTokens`.
pub(super) fn count(body: &Value) -> Result<Reply, Refusal> {
    let body = shaped(body, &shapes::COUNT_TOKENS)?;
    let counted = body.get("generateContentRequest").unwrap_or(&body);
    if counted["contents"].as_array().is_none_or(Vec::is_empty) {
        return Err(wrong("* CountTokensRequest.contents: contents is not specified"));
    }
    let tokens: usize = prompt(counted).iter().map(|part| part.tokens).sum();
    Ok(Reply::json(200, &json!({"totalTokens": tokens, "promptTokensDetails": modality(tokens)})))
}

/// Answers `:generateContent`, or `:streamGenerateContent` when it streams.
pub(super) fn answer(mut arrival: Arrival<'_>, model: &str, streams: bool, body: &Value) -> Result<Reply, Refusal> {
    let body = shaped(body, &shapes::GENERATE)?;
    let seed = arrival.options.seed;
    let request = Generate::read(&body, model, seed)?;
    let parts = prompt(&body);
    let prompt_tokens = parts.iter().map(|part| part.tokens).sum();
    if overflows(model, prompt_tokens) {
        return Err(wrong(too_long(prompt_tokens)));
    }
    let content = body["contents"].to_string();
    let results = request.turns.results();
    let question = Question {
        model,
        user: &request.turns.user_text(),
        brought: request.turns.brought(),
        user_spoke_last: results.is_empty(),
        results,
        tools: &request.tools,
        format: request.output.format(),
        stop: &request.stop,
        limit: request.limit,
        thinks: request.thinks,
    };
    let answers: Vec<Answer> = (0..request.candidates)
        .map(|index| {
            let mut dice = Dice::new(seed, format!("{index} {content}").as_bytes());
            speech::answer(&question, &mut dice)
        })
        .collect();
    let read = arrival.cache.pass(&format!("gemini {model}"), &parts).read;
    let cached_tokens = if read < MIN_CACHED { 0 } else { read };
    let id = arrival.pace.dice.clone().letters(22);
    let said = Said { model, id, seed, answers, prompt_tokens, cached_tokens, shows_thoughts: request.shows_thoughts };
    if !streams {
        let mut reply = Reply::json(200, &said.whole());
        reply.wait = arrival.pace.whole(said.answers.iter().map(Answer::tokens).max().unwrap_or(0));
        return Ok(reply);
    }
    let chunks = said.chunks(arrival.pace);
    Ok(match arrival.request.query("alt") {
        Some("sse") => DIALECT.stream(
            chunks.into_iter().map(|(wait, chunk)| Piece { wait, bytes: DIALECT.json_event(&chunk) }).collect(),
        ),
        _ => Reply::stream(JSON, array(&chunks)),
    })
}

/// Returns the pieces of a stream that is one JSON array.
fn array(chunks: &[(std::time::Duration, Value)]) -> Vec<Piece> {
    let opened = |(index, (wait, chunk)): (usize, &(std::time::Duration, Value))| {
        let before = if index == 0 { "[" } else { ",\r\n" };
        Piece { wait: *wait, bytes: format!("{before}{chunk}").into() }
    };
    chunks.iter().enumerate().map(opened).chain([Pace::at_once("\n]".into())]).collect()
}

fn modality(tokens: usize) -> Value {
    json!([{"modality": "TEXT", "tokenCount": tokens}])
}

/// Returns the parts of a prompt, each of which the cache may end with: Google needs no marks.
fn prompt(body: &Value) -> Vec<Part> {
    let part = |content: String, tokens: usize| Part { content, tokens, marked: true };
    let mut parts = Vec::new();
    for tool in body["tools"].as_array().into_iter().flatten() {
        parts.push(part(tool.to_string(), text::count(&tool.to_string())));
    }
    for content in [&body["systemInstruction"]].into_iter().chain(body["contents"].as_array().into_iter().flatten()) {
        let listed = content["parts"].as_array().into_iter().flatten();
        let tokens: usize = listed.map(tokens).sum();
        if !content.is_null() {
            parts.push(part(content.to_string(), TOKENS_PER_CONTENT + tokens));
        }
    }
    parts
}

fn tokens(part: &Value) -> usize {
    if part.get("inlineData").or_else(|| part.get("fileData")).is_some() {
        return TOKENS_PER_ATTACHMENT;
    }
    match part["text"].as_str() {
        Some(said) => text::count(said),
        None => ["functionCall", "functionResponse"]
            .iter()
            .filter_map(|name| part.get(*name))
            .map(|data| text::count(&data.to_string()))
            .sum(),
    }
}

/// What is answered, before it has its form.
struct Said<'a> {
    model: &'a str,
    id: String,
    seed: u64,
    answers: Vec<Answer>,
    prompt_tokens: usize,
    cached_tokens: usize,
    shows_thoughts: bool,
}

impl Said<'_> {
    fn whole(&self) -> Value {
        let blocked = self.answers.iter().all(|answer| answer.end == End::Blocked);
        if blocked {
            return self.response(Vec::new());
        }
        let candidates = self.answers.iter().enumerate().map(|(index, answer)| {
            let parts: Vec<Value> = self.parts(answer).into_iter().collect();
            candidate(index, parts, Some(answer))
        });
        self.response(candidates.collect())
    }

    /// Returns a response with these candidates and all the usage; without any, the prompt was blocked.
    fn response(&self, candidates: Vec<Value>) -> Value {
        let mut response =
            json!({"usageMetadata": self.usage(true), "modelVersion": self.model, "responseId": self.id});
        if candidates.is_empty() {
            response["promptFeedback"] = json!({"blockReason": "PROHIBITED_CONTENT"});
        } else {
            response["candidates"] = json!(candidates);
        }
        response
    }

    /// Returns the usage; a count of zero is left out, as Google leaves it out.
    fn usage(&self, all: bool) -> Value {
        let sum = |tokens: fn(&Answer) -> usize| self.answers.iter().map(tokens).sum::<usize>();
        let (spoken, thought) = if all { (sum(Answer::spoken_tokens), sum(Answer::thought_tokens)) } else { (0, 0) };
        let mut usage = json!({
            "promptTokenCount": self.prompt_tokens,
            "totalTokenCount": self.prompt_tokens + spoken + thought,
            "promptTokensDetails": modality(self.prompt_tokens),
        });
        let counts = [
            ("candidatesTokenCount", spoken),
            ("thoughtsTokenCount", thought),
            ("cachedContentTokenCount", self.cached_tokens),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).for_each(|(name, count)| usage[name] = json!(count));
        usage
    }

    /// Returns the parts of an answer; a filtered one has none.
    fn parts(&self, answer: &Answer) -> Vec<Value> {
        if matches!(answer.end, End::Refused | End::Blocked) {
            return Vec::new();
        }
        let mut parts = Vec::new();
        if self.shows_thoughts && !answer.thoughts.is_empty() {
            parts.push(json!({"text": answer.thoughts, "thought": true}));
        }
        if !answer.text.is_empty() {
            let mut part = json!({"text": answer.text});
            if signs(self.model) {
                part["thoughtSignature"] = json!(signed_text(self.seed));
            }
            parts.push(part);
        }
        parts.extend(self.calls(answer));
        parts
    }

    /// Returns the parts with calls: the first of them signed if the model thought, with ids if the model gives them.
    fn calls(&self, answer: &Answer) -> Vec<Value> {
        let signed = signs(self.model) || !answer.thoughts.is_empty();
        let part = |(nth, call): (usize, &super::super::tools::Call)| {
            let mut data = json!({"name": call.name, "args": call.input()});
            let signature = (nth == 0 && signed).then(|| signed_call(self.seed, &data));
            if signs(self.model) {
                data["id"] = json!(call.id);
            }
            let mut part = json!({"functionCall": data});
            if let Some(signature) = signature {
                part["thoughtSignature"] = json!(signature);
            }
            part
        };
        answer.calls.iter().enumerate().map(part).collect()
    }

    /// Returns the chunks of a stream with their waits: text token by token, each call whole, the finish reasons last.
    fn chunks(&self, mut pace: Pace) -> Vec<(std::time::Duration, Value)> {
        if self.answers.iter().all(|answer| answer.end == End::Blocked) {
            return vec![(pace.next(), self.whole())];
        }
        let mut chunks = Vec::new();
        let mut chunk = |candidate: Value| {
            let mut response = self.response(vec![candidate]);
            response["usageMetadata"] = self.usage(false);
            chunks.push((pace.next(), response));
        };
        for (index, answer) in self.answers.iter().enumerate() {
            for part in self.parts(answer) {
                let Some(said) = part["text"].as_str() else {
                    chunk(candidate(index, vec![part], None));
                    continue;
                };
                for token in text::tokens(said) {
                    let mut some = json!({"text": token});
                    if part["thought"] == true {
                        some["thought"] = json!(true);
                    }
                    chunk(candidate(index, vec![some], None));
                }
            }
        }
        for (index, answer) in self.answers.iter().enumerate() {
            let signed = signs(self.model) && !answer.text.is_empty() && answer.end != End::Refused;
            let last = if signed {
                vec![json!({"text": "", "thoughtSignature": signed_text(self.seed)})]
            } else if matches!(answer.end, End::Refused | End::Blocked | End::Calls) {
                Vec::new()
            } else {
                vec![json!({"text": ""})]
            };
            let response = self.response(vec![candidate(index, last, Some(answer))]);
            chunks.push((std::time::Duration::ZERO, response));
        }
        chunks
    }
}

/// Returns a candidate; with the finish reason when `ended` is its answer.
fn candidate(index: usize, parts: Vec<Value>, ended: Option<&Answer>) -> Value {
    let mut content = json!({"role": "model"});
    // Google leaves the field out where it has nothing to say.
    if !parts.is_empty() {
        content["parts"] = json!(parts);
    }
    let mut candidate = json!({"content": content, "index": index});
    if let Some(answer) = ended {
        candidate["finishReason"] = json!(match answer.end {
            End::Done | End::Stop(_) | End::Calls => "STOP",
            End::Length => "MAX_TOKENS",
            End::Refused => "SAFETY",
            End::Blocked => "PROHIBITED_CONTENT",
        });
        if answer.end == End::Refused {
            candidate["finishMessage"] = json!(answer.text);
        }
    }
    candidate
}
