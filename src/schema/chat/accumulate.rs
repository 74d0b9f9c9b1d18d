//! A streamed reply put together again.

use super::{ChatReply, Choice, Chunk, Content, Part, Thinking, ToolCall};

/// Builds the whole reply that a stream of chunks amounts to.
#[derive(Debug, Default)]
pub struct Accumulator {
    reply: ChatReply,
    /// By choice: the part that each of its tools is.
    tools: Vec<(u32, Vec<usize>)>,
    /// Choices whose last part is thinking that may grow.
    thinking: Vec<u32>,
}

impl Accumulator {
    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &Chunk) {
        match chunk {
            Chunk::Start { id, created, model, service_tier, system_fingerprint } => {
                self.reply.id.clone_from(id);
                self.reply.created = *created;
                self.reply.model.clone_from(model);
                self.reply.service_tier.clone_from(service_tier);
                self.reply.system_fingerprint.clone_from(system_fingerprint);
            }
            Chunk::Usage(usage) => self.reply.usage = Some(*usage),
            Chunk::Text { choice, text } => self.extend(*choice, Content::Text(text.clone())),
            Chunk::Refusal { choice, text } => self.extend(*choice, Content::Refusal(text.clone())),
            Chunk::Thinking { choice, text } => self.think(*choice, text),
            Chunk::ThinkingEnd { choice, signature, encrypted, vendor, id } => {
                self.think(*choice, "");
                self.thinking.retain(|open| open != choice);
                if let Some(Content::Thinking(thinking)) = self.last(*choice) {
                    thinking.signature.clone_from(signature);
                    thinking.encrypted.clone_from(encrypted);
                    thinking.vendor = *vendor;
                    thinking.id.clone_from(id);
                }
            }
            Chunk::ToolCall { choice, id, name, custom, signature, .. } => {
                let (id, name, signature) = (id.clone(), name.clone(), signature.clone());
                let call = ToolCall { id, name, arguments: String::new(), custom: *custom, signature };
                self.add(*choice, Content::ToolCall(call));
                let at = self.choice(*choice).parts.len() - 1;
                self.tools_of(*choice).push(at);
            }
            Chunk::ToolArguments { choice, tool, fragment } => {
                let Some(&at) = self.tools_of(*choice).get(*tool as usize) else { return };
                if let Some(Content::ToolCall(call)) =
                    self.choice(*choice).parts.get_mut(at).map(|part| &mut part.content)
                {
                    call.arguments.push_str(fragment);
                }
            }
            Chunk::Citation { choice, citation } => self.choice(*choice).citations.push(citation.clone()),
            Chunk::Logprobs { choice, value } => merge_logprobs(&mut self.choice(*choice).logprobs, value),
            Chunk::Native { choice, dialect, value } => {
                self.add(*choice, Content::Native { dialect: *dialect, value: value.clone() });
            }
            Chunk::Finish { choice, finish } => self.choice(*choice).finish = Some(finish.clone()),
        }
    }

    /// Returns what has come so far.
    pub fn finish(mut self) -> ChatReply {
        self.reply.choices.sort_by_key(|choice| choice.index);
        self.reply
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let choices = &mut self.reply.choices;
        let at = choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            choices.push(Choice { index, ..Choice::default() });
            choices.len() - 1
        });
        &mut choices[at]
    }

    fn tools_of(&mut self, index: u32) -> &mut Vec<usize> {
        let at = self.tools.iter().position(|(choice, _)| *choice == index).unwrap_or_else(|| {
            self.tools.push((index, Vec::new()));
            self.tools.len() - 1
        });
        &mut self.tools[at].1
    }

    fn last(&mut self, choice: u32) -> Option<&mut Content> {
        self.choice(choice).parts.last_mut().map(|part| &mut part.content)
    }

    fn add(&mut self, choice: u32, content: Content) {
        self.thinking.retain(|open| *open != choice);
        self.choice(choice).parts.push(Part::new(content));
    }

    /// Appends text to the last part if that is of the same kind.
    fn extend(&mut self, choice: u32, content: Content) {
        match (self.last(choice), content) {
            (Some(Content::Text(before)), Content::Text(text))
            | (Some(Content::Refusal(before)), Content::Refusal(text)) => before.push_str(&text),
            (_, content) => self.add(choice, content),
        }
    }

    fn think(&mut self, choice: u32, text: &str) {
        if !self.thinking.contains(&choice) {
            self.add(choice, Content::Thinking(Thinking::default()));
            self.thinking.push(choice);
        }
        if let Some(Content::Thinking(thinking)) = self.last(choice) {
            thinking.text.push_str(text);
        }
    }
}

fn merge_logprobs(into: &mut Option<serde_json::Value>, value: &serde_json::Value) {
    let Some(serde_json::Value::Object(into)) = into else {
        *into = Some(value.clone());
        return;
    };
    for (key, more) in value.as_object().into_iter().flatten() {
        match (into.get_mut(key), more) {
            (Some(serde_json::Value::Array(before)), serde_json::Value::Array(more)) => {
                before.extend(more.iter().cloned());
            }
            (_, more) => _ = into.insert(key.clone(), more.clone()),
        }
    }
}
