//! What an answer goes through on its way to the client, whoever gives it: it is screened, and it is kept.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use super::flow::{Flow, FormedFlow, ReviewedFlow, ScreenedFlow};
use super::guards::refused;
use super::keeping::{KeepFlow, Keeping};
use super::review::Review;
use super::settlement::Settlement;
use super::structured::Wanted;
use crate::error::GatewayError;
use crate::privacy::{Entity, Screening};

/// It; nothing of it where an answer passes as it comes.
#[derive(Default)]
pub struct Along {
    pub screening: Option<Rc<RefCell<Screening>>>,
    /// Only where there is a screening, which counts what is found.
    pub review: Option<Rc<Review>>,
    /// What a stream has to be like; only where there is a screening, likewise.
    pub wanted: Option<Rc<Wanted>>,
    pub keeping: Option<Rc<Keeping>>,
}

impl Along {
    /// Returns a stream that goes through all of it. What is kept is what the client gets.
    pub fn through(&self, flow: Box<dyn Flow>) -> Box<dyn Flow> {
        let flow: Box<dyn Flow> = match (&self.review, &self.screening) {
            (Some(review), Some(screening)) => Box::new(ReviewedFlow::new(flow, review.clone(), screening.clone())),
            _ => flow,
        };
        let flow = match &self.screening {
            Some(screening) => Box::new(ScreenedFlow::new(flow, screening.clone())),
            None => flow,
        };
        let flow: Box<dyn Flow> = match (&self.wanted, &self.screening) {
            (Some(wanted), Some(screening)) => Box::new(FormedFlow::new(flow, wanted.clone(), screening.clone())),
            _ => flow,
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

    /// Returns a whole answer as those leave it who are asked about it.
    async fn reviewed(&self, body: Bytes) -> Result<Bytes, GatewayError> {
        let (Some(review), Some(screening)) = (&self.review, &self.screening) else { return Ok(body) };
        let Ok(text) = std::str::from_utf8(&body) else { return Ok(body) };
        let (report, new) = review.of_body(text).await;
        screening.borrow_mut().found(&report);
        Ok(new?.map_or(body, Bytes::from))
    }

    /// Returns a whole answer as the client gets it, or why it does not. `words` are for whoever is refused by a rule.
    pub async fn whole(&self, body: Bytes, words: impl Fn(&str, Entity) -> String) -> Result<Bytes, GatewayError> {
        let mut body = self.reviewed(body).await?;
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
