//! Streams from one dialect into another: frames → chunks → events.

use bursar_actors::Usage;
use bytes::Bytes;

use super::{Batch, Flow, judged, truncated, unreadable, unusable};
use crate::pipeline::translation::Translation;
use crate::providers::announced::Announced;
use crate::providers::custom::CustomCalls;
use crate::providers::dialect::{Step, StreamFailure, StreamReader, StreamWriter};
use crate::providers::framing::{Framed, Framer, Framing};
use crate::providers::sequence::{Sequence, output_bytes};
use crate::schema::chat::Chunk;

/// The state of one such stream.
pub struct TranslateFlow {
    framing: Framing,
    framer: Framer,
    reader: Box<dyn StreamReader>,
    sequence: Sequence,
    custom: Option<CustomCalls>,
    writer: Box<dyn StreamWriter>,
    translation: Translation,
    /// What comes before the first output is left out.
    skips_preamble: bool,
    output_bytes: u64,
    /// Why the first choice ended.
    finish: Option<&'static str>,
    /// By the preamble of an earlier upstream, which the client has.
    announced: Option<Announced>,
    /// Emptied after each frame; kept for their memory.
    read: Vec<Chunk>,
    ordered: Vec<Chunk>,
}

impl TranslateFlow {
    /// Begins the answer that `translation` is for.
    pub fn new(translation: Translation, announced: Option<Announced>) -> Self {
        let framing = translation.upstream.framing();
        let writer = translation.client.writer(&translation.request);
        // A stream may last for hours; the request, with all its images, need not.
        let translation = translation.without_request();
        Self {
            framing,
            framer: Framer::new(framing),
            reader: translation.upstream.reader(),
            sequence: Sequence::default(),
            custom: translation.custom.stream(),
            writer,
            translation,
            skips_preamble: announced.is_some(),
            announced,
            output_bytes: 0,
            finish: None,
            read: Vec::new(),
            ordered: Vec::new(),
        }
    }

    fn on_frame(&mut self, framed: &Framed, batch: &mut Batch) {
        let frame = framed.frame();
        match self.reader.frame(&frame, &mut self.read) {
            Err(nonsense) => batch.failure = Some(unusable(nonsense)),
            Ok(Step::Error) => batch.failure = Some(judged(frame.data)),
            Ok(Step::Done) => batch.done = true,
            Ok(Step::More) => {}
        }
        for chunk in self.read.drain(..) {
            self.sequence.push(chunk, &mut self.ordered);
        }
        self.write(batch);
    }

    /// Writes what is in order by now.
    fn write(&mut self, batch: &mut Batch) {
        if let Some(custom) = &mut self.custom {
            let ordered = std::mem::take(&mut self.ordered);
            ordered.into_iter().for_each(|chunk| custom.push(chunk, &mut self.ordered));
        }
        let mut out = Vec::new();
        for mut chunk in self.ordered.drain(..) {
            self.translation.note(&mut chunk);
            if let Some(announced) = &self.announced {
                announced.name(&mut chunk);
            }
            let output = chunk.is_output();
            self.output_bytes += output_bytes(&chunk) as u64;
            if let Chunk::Finish { choice: 0, finish } = &chunk {
                self.finish = Some(finish.as_str());
            }
            self.skips_preamble &= !output;
            batch.began |= output;
            self.writer.chunk(&chunk, &mut out);
            if self.skips_preamble {
                out.clear();
            }
        }
        if !out.is_empty() {
            batch.bytes.push(out.into());
        }
    }

    /// Everything has been said: writes what comes last.
    fn complete(&mut self, batch: &mut Batch) {
        self.sequence.finish(&mut self.ordered);
        self.write(batch);
        let mut out = Vec::new();
        self.writer.finish(&mut out);
        batch.bytes.push(out.into());
        batch.began = true;
    }
}

impl Flow for TranslateFlow {
    fn is_framed(&self) -> bool {
        self.framing == Framing::Sse
    }

    fn feed(&mut self, piece: Bytes) -> Batch {
        self.framer.feed(piece);
        let mut batch = Batch::default();
        while let Some(framed) = self.framer.next_frame() {
            match framed {
                Ok(framed) => self.on_frame(&framed, &mut batch),
                Err(error) => batch.failure = Some(unreadable(&error)),
            }
            if batch.done || batch.failure.is_some() {
                break;
            }
        }
        if batch.done && batch.failure.is_none() {
            self.complete(&mut batch);
        }
        batch
    }

    fn end(&mut self) -> Batch {
        let mut batch = Batch::default();
        match self.framer.finish() {
            Some(Ok(framed)) => self.on_frame(&framed, &mut batch),
            Some(Err(error)) => return Batch::failed(unreadable(&error)),
            None => {}
        }
        if batch.failure.is_none() {
            batch.done |= self.reader.is_complete();
            if batch.done {
                self.complete(&mut batch);
            } else {
                batch.failure = Some(truncated());
            }
        }
        batch
    }

    fn usage(&self) -> Option<Usage> {
        self.sequence.usage()
    }

    fn finish(&self) -> Option<&'static str> {
        self.finish
    }

    fn output_bytes(&self) -> u64 {
        self.output_bytes
    }

    fn fail(&mut self, failure: &StreamFailure<'_>) -> Option<Bytes> {
        let mut out = Vec::new();
        self.writer.fail(failure, &mut out).then(|| out.into())
    }
}
