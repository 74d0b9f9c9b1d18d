//! What an answer goes through on its way to the client, whoever gives it: it is screened, and it is kept.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use super::flow::{Flow, ScreenedFlow};
use super::guards::refused;
use super::keeping::{KeepFlow, Keeping};
use super::settlement::Settlement;
use crate::error::GatewayError;
use crate::privacy::{Entity, Screening};

/// It; nothing of it where an answer passes as it comes.
#[derive(Default)]
pub struct Along {
    pub screening: Option<Rc<RefCell<Screening>>>,
    pub keeping: Option<Rc<Keeping>>,
}

impl Along {
    /// Returns a stream that goes through all of it. What is kept is what the client gets.
    pub fn through(&self, flow: Box<dyn Flow>) -> Box<dyn Flow> {
        let flow = match &self.screening {
            Some(screening) => Box::new(ScreenedFlow::new(flow, screening.clone())),
            None => flow,
        };
        match &self.keeping {
            Some(keeping) => Box::new(KeepFlow::new(flow, keeping.clone())),
            None => flow,
        }
    }

    /// Tells the books what was found in the answer, once it is over.
    pub fn tell(&self, books: &mut Settlement) {
        if let Some(screening) = &self.screening {
            books.screened(&mut screening.borrow_mut());
        }
    }

    /// Returns a whole answer as the client gets it, or why it does not. `words` are for whoever is refused by a rule.
    pub async fn whole(&self, body: Bytes, words: impl Fn(&str, Entity) -> String) -> Result<Bytes, GatewayError> {
        let mut body = body;
        if let Some(screening) = &self.screening {
            let mut screening = screening.borrow_mut();
            screening.came(&body);
            if let Some(screened) = std::str::from_utf8(&body).ok().and_then(|text| screening.answer(text)) {
                body = screened.into();
            }
            if let Some((rule, entity)) = &screening.report().blocked {
                return Err(refused(format!("the answer: {}", words(rule, *entity))));
            }
        }
        Ok(match &self.keeping {
            Some(keeping) => keeping.whole(body).await,
            None => body,
        })
    }
}
