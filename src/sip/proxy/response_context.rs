//! The response context (RFC 3261 §16.7, §16.8, §16.10): from the targets of one request to the one final response that
//! goes back. Targets are tried one after the other. It holds responses of any type and sends nothing itself.

use smallvec::SmallVec;

/// What the context wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<R> {
    /// Send the request to this target, and start the fast fail-over timer if there is one.
    Try(usize),
    /// Send this response upstream now: a provisional one, or a 2xx.
    Forward(R),
    /// Cancel the client transaction of this target (§16.10).
    Cancel(usize),
    /// The final response. It comes once, and never after a 2xx was forwarded.
    Final(Final<R>),
}

/// The best response (§16.7 step 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Final<R> {
    /// A response that came. To a 401 or 407 belong the challenges of the `others` (step 7).
    Response {
        /// The one that goes back.
        best: R,
        /// Other 401 and 407 whose WWW-Authenticate and Proxy-Authenticate are copied into it.
        others: Vec<R>,
    },
    /// None came; answer with this status: 408 or 503, or 487 for a request that was cancelled.
    Status(u16),
}

/// Where one target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    /// Sent, nothing heard.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came, or counts as come; only a 2xx is still listened to.
    Done,
}

/// A final response, or what stands for one that did not come.
#[derive(Clone, Debug)]
struct Answer<R> {
    status: u16,
    response: Option<R>,
}

/// One request's.
#[derive(Debug)]
pub struct ResponseContext<R> {
    is_invite: bool,
    targets: usize,
    /// Statuses that move on to the next target.
    fail_over: SmallVec<[u16; 4]>,
    /// Of the targets tried so far.
    branches: SmallVec<[Branch; 2]>,
    answers: SmallVec<[Answer<R>; 1]>,
    /// No target is tried any more: cancelled, or a 2xx or 6xx came.
    closed: bool,
    cancelled: bool,
    /// A final response has gone back.
    is_final: bool,
    /// What is to be done, in order; mostly one thing at a time.
    verdicts: SmallVec<[Verdict<R>; 1]>,
}

impl<R> ResponseContext<R> {
    /// For `targets` targets, of which none has been tried. A non-2xx whose status is in `fail_over` moves on to the
    /// next target, as does a target that does not answer; any other is final.
    pub fn new(is_invite: bool, targets: usize, fail_over: &[u16]) -> Self {
        ResponseContext {
            is_invite,
            targets,
            fail_over: fail_over.into(),
            branches: SmallVec::new(),
            answers: SmallVec::new(),
            closed: false,
            cancelled: false,
            is_final: false,
            verdicts: SmallVec::new(),
        }
    }

    /// Tries the first target. Without any: 503.
    pub fn start(&mut self) {
        if self.targets == 0 {
            self.answers.push(Answer { status: 503, response: None });
        }
        self.go_on();
    }

    /// A response came from that target's client transaction.
    pub fn on_response(&mut self, target: usize, status: u16, response: R) {
        let Some(branch) = self.branches.get_mut(target) else { return };
        match status {
            ..200 if *branch == Branch::Done => {}
            ..200 => {
                *branch = Branch::Proceeding;
                // Step 5: provisional responses other than 100 go back until a final one has.
                if status > 100 && !self.is_final {
                    self.verdicts.push(Verdict::Forward(response));
                }
            }
            200..300 => self.on_success(target, response),
            _ => self.conclude(target, Answer { status, response: Some(response) }),
        }
    }

    /// The target's client transaction timed out (Timer B, C or F): §16.8 has it count as 408.
    pub fn on_timeout(&mut self, target: usize) {
        self.conclude(target, Answer { status: 408, response: None });
    }

    /// The request could not be sent to the target: §16.9 has it count as 503.
    pub fn on_send_failed(&mut self, target: usize) {
        self.conclude(target, Answer { status: 503, response: None });
    }

    /// The edge's fast fail-over timer fired. If the target has not even sent a 100 it is given up as if it had timed
    /// out. Its client transaction is cancelled as soon as it does answer; should it answer 2xx in spite of that, the
    /// 2xx still goes back.
    pub fn on_no_answer(&mut self, target: usize) {
        if self.branches.get(target) == Some(&Branch::Trying) {
            self.verdicts.push(Verdict::Cancel(target));
            self.on_timeout(target);
        }
    }

    /// §16.10: upstream cancelled the request. Its pending branches are cancelled and no further target is tried; what
    /// they answer (487) becomes the final response.
    pub fn cancel(&mut self) {
        if self.cancelled {
            return;
        }
        self.cancelled = true;
        self.closed = true;
        self.cancel_pending();
        self.go_on();
    }

    /// Next thing to do.
    pub fn poll(&mut self) -> Option<Verdict<R>> {
        (!self.verdicts.is_empty()).then(|| self.verdicts.remove(0))
    }

    /// A further target was found while the others were tried.
    pub fn one_more_target(&mut self) {
        self.targets += 1;
    }

    /// True while the target may yet answer in time.
    pub fn is_pending(&self, target: usize) -> bool {
        self.branches.get(target).is_some_and(|branch| *branch != Branch::Done)
    }

    /// True once a final response has gone back. Further 2xx of an INVITE may still be forwarded (§16.7 step 5).
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Steps 5 and 10: a 2xx goes back at once and the others are cancelled. Those of an INVITE go back however late
    /// and however many, because each has made a dialog that somebody must end.
    fn on_success(&mut self, target: usize, response: R) {
        if let Some(branch) = self.branches.get_mut(target) {
            *branch = Branch::Done;
        }
        if self.is_invite || !self.is_final {
            self.verdicts.push(Verdict::Forward(response));
        }
        self.is_final = true;
        self.closed = true;
        self.cancel_pending();
    }

    /// The target has its final answer; goes on to the next target if that answer asks for it.
    fn conclude(&mut self, target: usize, answer: Answer<R>) {
        match self.branches.get_mut(target) {
            Some(branch) if *branch != Branch::Done => *branch = Branch::Done,
            _ => return,
        }
        // Step 5: "if a 6xx is received, ... cancel all client transactions" and no new ones.
        if answer.status >= 600 {
            self.closed = true;
            self.cancel_pending();
        }
        let moves_on = answer.response.is_none() || self.fail_over.contains(&answer.status);
        self.closed |= !moves_on;
        self.answers.push(answer);
        self.go_on();
    }

    fn cancel_pending(&mut self) {
        for (target, branch) in self.branches.iter().enumerate() {
            if *branch != Branch::Done {
                self.verdicts.push(Verdict::Cancel(target));
            }
        }
    }

    /// Tries the next target, or, once nothing is pending, sends the best answer (step 6).
    fn go_on(&mut self) {
        if self.is_final || self.branches.iter().any(|branch| *branch != Branch::Done) {
            return;
        }
        if !self.closed && self.branches.len() < self.targets {
            self.verdicts.push(Verdict::Try(self.branches.len()));
            self.branches.push(Branch::Trying);
        } else {
            self.is_final = true;
            let best = self.choose();
            self.verdicts.push(Verdict::Final(best));
        }
    }

    /// Step 6: a 6xx if there is one; else of the lowest class, and there one that tells how to do better. What a
    /// target said comes before what we made of another's silence. A 503 goes back as it is: all that we can reach has
    /// said so, and that is when step 6 allows it.
    fn choose(&mut self) -> Final<R> {
        let rank = |answer: &Answer<R>| {
            let class = if answer.status >= 600 { 0 } else { answer.status / 100 };
            (answer.response.is_none(), class, !matches!(answer.status, 401 | 407 | 415 | 420 | 484))
        };
        let Some(best) = (0..self.answers.len()).min_by_key(|&i| self.answers.get(i).map(rank)) else {
            return Final::Status(if self.cancelled { 487 } else { 408 });
        };
        let Answer { status, response } = self.answers.remove(best);
        let Some(best) = response else {
            return Final::Status(if self.cancelled { 487 } else { status });
        };
        let is_challenge = |status: u16| matches!(status, 401 | 407);
        let others = std::mem::take(&mut self.answers).into_iter();
        let others = others.filter(|other| is_challenge(status) && is_challenge(other.status));
        Final::Response { best, others: others.filter_map(|other| other.response).collect() }
    }
}

#[cfg(test)]
mod tests;
