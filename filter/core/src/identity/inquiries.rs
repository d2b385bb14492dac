//! Questions that are asked once for all who wait for the answer.

use core::cell::{Cell, RefCell};

use crate::ask::{Ask, Asker, HttpRequest, Inquiry, Question};

/// What an inquiry is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topic {
    /// A key set, by its number.
    KeySet(usize),
    /// A list of what is revoked, by its number.
    Feed(usize),
    /// A logout that is sent on, by its number.
    Logout(usize),
    /// A credential, by the number of the question about it.
    Lookup(usize),
}

/// The inquiries of a worker.
#[derive(Debug, Default)]
pub struct Inquiries {
    next: Cell<u32>,
    open: RefCell<Vec<Open>>,
    /// What has not been asked yet.
    asks: RefCell<Vec<Ask>>,
}

#[derive(Debug)]
struct Open {
    inquiry: Inquiry,
    topic: Topic,
    waiting: RefCell<Vec<u32>>,
}

impl Inquiries {
    /// The inquiry about `topic`, which is begun where there is none. The caller that begins it has to [ask](Self::ask), now or later.
    pub fn about(&self, topic: Topic) -> Inquiry {
        let mut open = self.open.borrow_mut();
        if let Some(open) = open.iter().find(|open| open.topic == topic) {
            return open.inquiry;
        }
        let inquiry = Inquiry(self.next.get());
        self.next.set(inquiry.0.wrapping_add(1));
        open.push(Open { inquiry, topic, waiting: RefCell::default() });
        inquiry
    }

    /// Asks for what an inquiry needs, at first or next.
    pub fn ask(&self, inquiry: Inquiry, request: HttpRequest) {
        self.asks.borrow_mut().push(Ask { question: Question::Http(request), asker: Asker::Inquiry(inquiry) });
    }

    /// What an inquiry is about that is not answered yet.
    #[must_use]
    pub fn topic(&self, inquiry: Inquiry) -> Option<Topic> {
        self.open.borrow().iter().find(|open| open.inquiry == inquiry).map(|open| open.topic)
    }

    /// Has `stream` wait for the answer.
    pub fn wait(&self, inquiry: Inquiry, stream: u32) {
        if let Some(open) = self.open.borrow().iter().find(|open| open.inquiry == inquiry) {
            open.waiting.borrow_mut().push(stream);
        }
    }

    /// Ends an inquiry. Gives the streams that wait for it.
    pub fn end(&self, inquiry: Inquiry) -> Vec<u32> {
        let mut open = self.open.borrow_mut();
        let Some(index) = open.iter().position(|open| open.inquiry == inquiry) else { return Vec::new() };
        open.swap_remove(index).waiting.take()
    }

    /// What is to be asked now.
    pub fn take_asks(&self) -> Vec<Ask> {
        self.asks.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_asked_about_once_for_all_who_wait() {
        let inquiries = Inquiries::default();
        let first = inquiries.about(Topic::KeySet(0));
        assert_eq!(inquiries.about(Topic::KeySet(0)), first);
        let other = inquiries.about(Topic::KeySet(1));
        assert_ne!(first, other);
        [first, other].into_iter().for_each(|inquiry| inquiries.ask(inquiry, HttpRequest::default()));
        assert_eq!(inquiries.take_asks().len(), 2);
        for stream in [7, 9] {
            inquiries.wait(first, stream);
        }
        assert_eq!(inquiries.topic(first), Some(Topic::KeySet(0)));
        assert_eq!((inquiries.end(first), inquiries.end(first), inquiries.end(other)), (vec![7, 9], vec![], vec![]));
        assert_ne!(inquiries.about(Topic::KeySet(0)), first);
    }
}
