//! An executor that polls, of the tasks that were woken, a random one. A task that nobody wakes is a lost wake-up: the
//! run ends with it left over.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

use crate::random::Random;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Task {
    name: &'static str,
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
    /// Whether it may be dropped in the middle, as the tasks of a runtime that shuts down.
    mortal: bool,
}

#[derive(Clone)]
pub(crate) struct Executor {
    tasks: Rc<RefCell<Vec<Task>>>,
    random: Random,
}

impl Executor {
    pub(crate) fn new(random: Random) -> Self {
        Self { tasks: Rc::default(), random }
    }

    pub(crate) fn spawn(&self, name: &'static str, mortal: bool, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.tasks.borrow_mut().push(Task { name, future: Box::pin(future), woken, mortal });
    }

    /// Runs until nothing is woken. What is left over waits for ever.
    pub(crate) fn run(&self) -> Vec<&'static str> {
        loop {
            let next = {
                let mut tasks = self.tasks.borrow_mut();
                let woken: Vec<usize> =
                    (0..tasks.len()).filter(|&at| tasks[at].woken.0.load(Ordering::SeqCst)).collect();
                if woken.is_empty() {
                    return tasks.iter().map(|task| task.name).collect();
                }
                tasks.swap_remove(woken[self.random.below(woken.len())])
            };
            if next.mortal && self.random.one_in(150) {
                continue;
            }
            let mut next = next;
            next.woken.0.store(false, Ordering::SeqCst);
            let waker = next.woken.clone().into();
            if next.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.tasks.borrow_mut().push(next);
            }
        }
    }
}
