//! Q1 and Q2 of `kantoku_exporters::questions`, with a VM that answers, sleeps, forgets or is not there.
#![cfg(not(kantoku_loom))]
#![allow(clippy::unwrap_used, reason = "what fails here says where")]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use kantoku_exporters::questions::{Answer, MOST, PATIENCE, Question, Questions};
use tokio::runtime::{Builder, Runtime};

type Mailbox = Arc<Mutex<Vec<Question>>>;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn questions() -> (Arc<Questions>, Mailbox) {
    let mailbox = Mailbox::default();
    let vm = mailbox.clone();
    let ask = Arc::new(move |question| {
        vm.lock().unwrap().push(question);
        true
    });
    (Arc::new(Questions::new(ask)), mailbox)
}

fn answer(question: &Question) -> Answer {
    Answer {
        status: 200,
        kind: "text/plain".into(),
        body: question.path.clone().into_bytes(),
    }
}

// Asks, and waits until the VM has it.
async fn asked(
    questions: &Arc<Questions>,
    mailbox: &Mailbox,
    path: &str,
) -> tokio::task::JoinHandle<Option<Answer>> {
    let before = mailbox.lock().unwrap().len();
    let (all, path) = (questions.clone(), path.to_owned());
    let task = tokio::spawn(async move { all.ask(path, String::new()).await });
    while mailbox.lock().unwrap().len() == before {
        tokio::task::yield_now().await;
    }
    task
}

#[test]
fn who_asks_has_the_answer_to_what_it_asked() {
    let (questions, mailbox) = questions();
    runtime().block_on(async {
        let mut tasks = Vec::new();
        for number in 0..MOST {
            tasks.push(asked(&questions, &mailbox, &number.to_string()).await);
        }
        let mut all = std::mem::take(&mut *mailbox.lock().unwrap());
        all.reverse();
        all.iter()
            .for_each(|question| questions.answer(question.id, answer(question)));
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap().body, number.to_string().into_bytes());
        }
    });
    assert_eq!(questions.pending_count(), 0);
}

#[test]
fn more_than_may_wait_are_refused_at_once_until_the_vm_has_answered_or_forgotten() {
    let (questions, mailbox) = questions();
    runtime().block_on(async {
        for number in 0..MOST {
            // Its asker goes away, and it lies with the VM all the same.
            asked(&questions, &mailbox, &number.to_string()).await.abort();
        }
        assert_eq!(questions.ask("/more".into(), String::new()).await, None);
        assert_eq!(mailbox.lock().unwrap().len(), MOST);
        let one = mailbox.lock().unwrap()[7].clone();
        questions.answer(one.id, answer(&one));
        questions.answer(one.id, answer(&one));
        let last = asked(&questions, &mailbox, "/last").await;
        assert_eq!(questions.ask("/more".into(), String::new()).await, None);
        questions.forget();
        assert_eq!(last.await.unwrap(), None);
        assert_eq!(questions.pending_count(), 0);
    });
}

#[test]
fn who_asks_a_vm_that_sleeps_is_not_kept() {
    let (questions, _mailbox) = questions();
    let began = Instant::now();
    let answer = runtime().block_on(questions.ask("/".into(), String::new()));
    assert_eq!(answer, None);
    assert!(began.elapsed() >= PATIENCE);
}

#[test]
fn where_there_is_nobody_to_ask_nothing_waits() {
    let questions = Questions::new(Arc::new(|_| false));
    assert_eq!(runtime().block_on(questions.ask("/".into(), String::new())), None);
    assert_eq!(questions.pending_count(), 0);
}
