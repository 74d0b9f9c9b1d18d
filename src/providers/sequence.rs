//! A stream of chunks put in order, so that no writer has to defend itself against a decoder.
//!
//! What comes out: `Start` first and once; every tool call announced before its arguments, its arguments never empty; each
//! choice finished once, `ToolCalls` where and only where it called tools; nothing of a choice after its end; at the end the
//! last usage.

use bursar_actors::Usage;

use crate::schema::chat::{ChatReply, Chunk, Content, Finish};

/// The state of one stream.
#[derive(Debug, Default)]
pub struct Sequence {
    started: bool,
    choices: Vec<ChoiceState>,
    usage: Option<Usage>,
}

#[derive(Debug, Default)]
struct ChoiceState {
    index: u32,
    /// By number: whether any arguments came, and whether it is a custom tool, which may have none.
    tools: Vec<(bool, bool)>,
    finished: bool,
}

impl Sequence {
    /// Takes the next chunk; appends what may go on now.
    pub fn push(&mut self, chunk: Chunk, out: &mut Vec<Chunk>) {
        if let Chunk::Usage(usage) = chunk {
            self.usage = Some(usage);
            return;
        }
        if let Chunk::Start { .. } = chunk {
            if !std::mem::replace(&mut self.started, true) {
                out.push(chunk);
            }
            return;
        }
        if !std::mem::replace(&mut self.started, true) {
            let (id, model) = Default::default();
            out.push(Chunk::Start { id, created: 0, model, service_tier: None, system_fingerprint: None });
        }
        let Some(index) = choice_of(&chunk) else { return };
        let state = self.choice(index);
        if state.finished {
            return;
        }
        match chunk {
            Chunk::ToolCall { tool, custom, .. } => {
                // A call that was announced before is not announced again.
                if tool as usize == state.tools.len() {
                    state.tools.push((false, custom));
                    out.push(chunk);
                }
            }
            Chunk::ToolArguments { tool, ref fragment, .. } => {
                if let Some((any, _)) = state.tools.get_mut(tool as usize).filter(|_| !fragment.is_empty()) {
                    *any = true;
                    out.push(chunk);
                }
            }
            Chunk::Finish { choice, finish } => {
                state.finished = true;
                for (tool, _) in state.tools.iter().enumerate().filter(|(_, (any, custom))| !any && !custom) {
                    out.push(Chunk::ToolArguments { choice, tool: tool as u32, fragment: "{}".into() });
                }
                out.push(Chunk::Finish { choice, finish: finish_by(finish, !state.tools.is_empty()) });
            }
            other => out.push(other),
        }
    }

    /// The stream is complete: appends what comes last.
    pub fn finish(&mut self, out: &mut Vec<Chunk>) {
        out.extend(self.usage.map(Chunk::Usage));
    }

    /// Returns whether every choice that began has finished, and any has begun.
    pub fn is_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished)
    }

    /// Returns the last usage.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn choice(&mut self, index: u32) -> &mut ChoiceState {
        let at = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            self.choices.push(ChoiceState { index, ..ChoiceState::default() });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }
}

/// Puts a whole reply in the same order: no call without arguments, `ToolCalls` where tools were called.
pub fn in_order(reply: &mut ChatReply) {
    for choice in &mut reply.choices {
        let mut calls = false;
        for part in &mut choice.parts {
            let Content::ToolCall(call) = &mut part.content else { continue };
            calls = true;
            if call.arguments.trim().is_empty() && !call.custom {
                call.arguments = "{}".into();
            }
        }
        choice.finish = match choice.finish.take() {
            None if calls => Some(Finish::ToolCalls),
            finish => finish.map(|finish| finish_by(finish, calls)),
        };
    }
}

/// Returns why a choice finished, by what it did: who stopped and called tools waits for their results, and a client told of
/// calls must find one.
fn finish_by(finish: Finish, called: bool) -> Finish {
    match finish {
        Finish::Stop { .. } if called => Finish::ToolCalls,
        Finish::ToolCalls if !called => Finish::Stop { sequence: None },
        finish => finish,
    }
}

/// Returns how many bytes of a chunk the model wrote.
pub fn output_bytes(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Text { text, .. } | Chunk::Refusal { text, .. } | Chunk::Thinking { text, .. } => text.len(),
        Chunk::ToolCall { name, .. } => name.len(),
        Chunk::ToolArguments { fragment, .. } => fragment.len(),
        _ => 0,
    }
}

/// Returns the choice that a chunk is of.
pub(super) fn choice_of(chunk: &Chunk) -> Option<u32> {
    match chunk {
        Chunk::Start { .. } | Chunk::Usage(_) => None,
        Chunk::Text { choice, .. }
        | Chunk::Refusal { choice, .. }
        | Chunk::Thinking { choice, .. }
        | Chunk::ThinkingEnd { choice, .. }
        | Chunk::ToolCall { choice, .. }
        | Chunk::ToolArguments { choice, .. }
        | Chunk::Citation { choice, .. }
        | Chunk::Logprobs { choice, .. }
        | Chunk::Native { choice, .. }
        | Chunk::Finish { choice, .. } => Some(*choice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::chat::Choice;

    fn call(tool: u32, id: &str) -> Chunk {
        Chunk::ToolCall { choice: 0, tool, id: id.into(), name: "f".into(), custom: false, signature: None }
    }

    fn arguments(tool: u32, fragment: &str) -> Chunk {
        Chunk::ToolArguments { choice: 0, tool, fragment: fragment.into() }
    }

    fn sequenced(chunks: Vec<Chunk>) -> Vec<Chunk> {
        let (mut sequence, mut out) = (Sequence::default(), Vec::new());
        chunks.into_iter().for_each(|chunk| sequence.push(chunk, &mut out));
        sequence.finish(&mut out);
        out
    }

    #[test]
    fn what_a_provider_leaves_out_is_put_in() {
        let usage = Usage { prompt: 1, ..Usage::default() };
        let stop = || Chunk::Finish { choice: 0, finish: Finish::Stop { sequence: None } };
        let text = || Chunk::Text { choice: 0, text: "late".into() };

        let out = sequenced(vec![
            Chunk::Usage(Usage::default()),
            call(0, "a"),
            arguments(0, ""),
            call(0, "again"),
            call(1, "b"),
            arguments(1, "{\"x\":1}"),
            stop(),
            text(),
            stop(),
            Chunk::Usage(usage),
        ]);

        let (id, model) = Default::default();
        let start = Chunk::Start { id, created: 0, model, service_tier: None, system_fingerprint: None };
        let finish = Chunk::Finish { choice: 0, finish: Finish::ToolCalls };
        let expected = [
            start,
            call(0, "a"),
            call(1, "b"),
            arguments(1, "{\"x\":1}"),
            arguments(0, "{}"),
            finish,
            Chunk::Usage(usage),
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn who_called_nothing_has_stopped() {
        let stop = Finish::Stop { sequence: None };
        let mut reply = ChatReply { choices: vec![Choice::default()], ..ChatReply::default() };
        reply.choices[0].finish = Some(Finish::ToolCalls);

        let out = sequenced(vec![Chunk::Finish { choice: 0, finish: Finish::ToolCalls }]);
        in_order(&mut reply);

        assert_eq!(out.last(), Some(&Chunk::Finish { choice: 0, finish: stop.clone() }));
        assert_eq!(reply.choices[0].finish, Some(stop));
    }
}
