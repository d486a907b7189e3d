//! A key, its whole history, and everybody who writes there.
//!
//! A request is on its way until the server decides it. What becomes of an answer is decided with it: it is heard at
//! once, or its client gives up (crashes) and the request goes on alone, as a *stray*, and lands at any later moment or
//! never. That is all that a network can do that loses and delays: an answer that is heard late tells a client alone, and
//! delays its next request, which may take any time anyway; a request or answer that is lost, and a 5xx before or after
//! the write, are a stray that never landed, or did. `answers_wait` makes the wait of answers a state of its own, to
//! show that it changes nothing. A proxy that sends a request twice makes a *copy*, whose answer nobody hears.

use noclobber::guard::{Answer, End, Found, Next, Patience, Write};
use noclobber::model::write::{Cause, PutError, Refusal};
use stateright::{Model, Property};

use crate::client::{Client, Content, Planned};
use crate::laws;

/// What is in a world, and how often each thing may happen.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Unversioned, the bucket keeps only the last object; the history is then known to the model alone.
    pub is_versioned: bool,
    /// HEAD is answered with 403.
    pub is_hidden: bool,
    pub before: Option<Content>,
    pub uploaders: Vec<Planned>,
    pub patience: Patience,
    /// What the stranger writes, whatever is there, one of these at a time.
    pub contents: Vec<Content>,
    pub strikes: u8,
    pub deletes: u8,
    /// Processes that are killed, or end with `failed` or `unknown`, and are started again.
    pub resumes: u8,
    /// Requests that are sent twice on the way.
    pub copies: u8,
    /// What the server may say instead of deciding a write.
    pub noes: Vec<Refusal>,
    /// Whether it may store another object than was sent, and say so.
    pub mangles: bool,
    pub answers_wait: bool,
    /// What it must be able to come to.
    pub reaches: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    Before,
    Stranger,
    Uploader(usize),
}

/// What was current at some time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Past {
    pub by: By,
    /// `None` for a delete marker.
    pub content: Option<Content>,
    /// Stored by a copy of a request, or by a request of which a copy got the answer.
    pub by_copy: bool,
    pub upload: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Oldest first.
    pub history: Vec<Past>,
    pub uploaders: Vec<Uploader>,
    /// Sorted.
    strays: Vec<Stray>,
    /// Multipart uploads that can be completed, by uploader. Sorted.
    pub uploads: Vec<(usize, u8)>,
    strikes: u8,
    deletes: u8,
    resumes: u8,
    copies: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uploader {
    pub stage: Stage,
    /// Its parts are up, and wait for their Complete.
    pub upload: Option<u8>,
    uploads_begun: u8,
    /// A write of this step went without an answer. Known to the model; the client keeps its own books.
    pub is_in_doubt: bool,
    /// Anything went without an answer that tells.
    pub missed_an_answer: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stage {
    Asks(Write, Ask),
    /// The server has decided; the answer is on its way.
    Answered(Write, Reply),
    Ended(Ended),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    Write { is_guarded: bool },
    Look,
    Search,
}

/// An answer, as little as names it. The version is its place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Written(usize),
    Lost,
    NoSuchUpload,
    Refused(Refusal),
    Mangled,
    Absent,
    Hidden,
    There(usize),
    Found(Option<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    Done {
        how: Done,
        version: Option<usize>,
    },
    Lost {
        /// What the client could not know, and nobody may be told: its own object was there when it said so.
        ours_was_there: bool,
    },
    SourceChanged,
    Failed,
    Stopped,
    Unknown,
}

/// How a client knows that its write is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Done {
    Told,
    Seen,
    Found,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Stray {
    Write { who: usize, is_guarded: bool, upload: Option<u8>, is_copy: bool },
    Abort { who: usize, upload: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The server decides a request as it should.
    Serve(usize),
    /// A Complete of an upload that is complete is answered as the first time.
    Repeat(usize),
    Refuse(usize, Refusal),
    Mangle(usize),
    Hear(usize),
    /// No answer came in time.
    GiveUp(usize),
    /// A proxy sends the request twice.
    Copy(usize),
    /// A request that nobody waits for reaches the server.
    Land(usize),
    /// The process is killed and started again; it goes on with its upload, or aborts it.
    Crash {
        who: usize,
        keeps_upload: bool,
    },
    /// Somebody starts it again, though it had come to an end.
    Again(usize),
    Strike(Content),
    Delete,
}

/// The model: a world, and the client that its uploaders are.
#[derive(Debug, Clone)]
pub struct World<C> {
    pub client: C,
    pub bounds: Bounds,
}

impl State {
    pub fn current(&self) -> Option<&Past> {
        self.history.last().filter(|past| past.content.is_some())
    }

    /// Whether a step's object was ever stored; by a copy, or by the request that was answered.
    pub fn was_stored(&self, who: usize, counting_copies: bool) -> bool {
        self.history.iter().any(|past| past.by == By::Uploader(who) && (counting_copies || !past.by_copy))
    }

    /// What a copy stored after the look, while the search that would have found it got no answer, is not counted.
    fn ours_is_there(&self, who: usize) -> bool {
        let missed = self.uploaders[who].missed_an_answer;
        self.current().is_some_and(|past| past.by == By::Uploader(who) && !(past.by_copy && missed))
    }

    /// Whether nothing can happen any more that a law could see.
    fn is_over(&self) -> bool {
        let has_ended = |uploader: &Uploader| matches!(uploader.stage, Stage::Ended(_));
        self.strays.is_empty() && self.resumes == 0 && self.uploaders.iter().all(has_ended)
    }

    /// Forgets the strays that can do nothing any more.
    fn tidy(&mut self) {
        let uploads = &self.uploads;
        self.strays.retain(|stray| match stray {
            Stray::Write { upload: None, .. } => true,
            Stray::Write { who, upload: Some(upload), .. } | Stray::Abort { who, upload } => {
                uploads.contains(&(*who, *upload))
            }
        });
    }

    fn stray(&mut self, stray: Stray) {
        let at = self.strays.partition_point(|other| *other < stray);
        self.strays.insert(at, stray);
    }

    /// Sends an abort on its way. It may be lost, and nobody learns.
    fn abort(&mut self, who: usize) {
        if let Some(upload) = self.uploaders[who].upload.take() {
            self.stray(Stray::Abort { who, upload });
        }
    }

    /// Leaves the request that is on its way to itself.
    fn let_go(&mut self, who: usize) {
        let uploader = &mut self.uploaders[who];
        uploader.missed_an_answer = true;
        if let Stage::Asks(_, Ask::Write { is_guarded }) = uploader.stage {
            let stray = Stray::Write { who, is_guarded, upload: uploader.upload, is_copy: false };
            self.stray(stray);
        }
    }

    pub fn push(&mut self, by: By, content: Option<Content>, by_copy: bool, upload: Option<u8>) -> usize {
        self.history.push(Past { by, content, by_copy, upload });
        self.history.len() - 1
    }
}

impl<C: Client> World<C> {
    fn fresh(&self, who: usize) -> Write {
        self.bounds.uploaders[who].fresh(self.bounds.is_versioned, self.bounds.patience)
    }

    fn hear(&self, state: &mut State, who: usize, write: Write, reply: Reply) {
        match reply {
            // S3 wants an upload that met a conflict begun anew.
            Reply::Refused(Refusal::Conflict) => state.abort(who),
            Reply::NoSuchUpload => {
                state.uploaders[who].is_in_doubt = true;
                state.uploaders[who].missed_an_answer = true;
            }
            Reply::Mangled => state.uploaders[who].missed_an_answer = true,
            Reply::Written(_)
            | Reply::Lost
            | Reply::Refused(_)
            | Reply::Absent
            | Reply::Hidden
            | Reply::There(_)
            | Reply::Found(_) => {}
        }
        let how = match reply {
            Reply::Found(_) => Done::Found,
            Reply::There(_) => Done::Seen,
            _ => Done::Told,
        };
        let answer = self.answer(state, reply);
        self.go_on(state, who, write, answer, how);
    }

    /// Hands an answer to the client, and does what it says.
    fn go_on(&self, state: &mut State, who: usize, write: Write, answer: Answer, how: Done) {
        let next = self.client.next(write, answer, self.fresh(who));
        self.act(state, who, next, how);
    }

    fn act(&self, state: &mut State, who: usize, (write, next): (Write, Next), how: Done) {
        state.uploaders[who].stage = match next {
            Next::Send { .. } => {
                let uploader = &mut state.uploaders[who];
                if self.bounds.uploaders[who].in_parts && uploader.upload.is_none() {
                    uploader.uploads_begun += 1;
                    uploader.upload = Some(uploader.uploads_begun);
                    let open = (who, uploader.uploads_begun);
                    state.uploads.push(open);
                    state.uploads.sort_unstable();
                }
                let is_guarded = self.client.guards(&write);
                Stage::Asks(write, Ask::Write { is_guarded })
            }
            Next::Look { .. } => Stage::Asks(write, Ask::Look),
            Next::Search => Stage::Asks(write, Ask::Search),
            Next::End(end) => {
                let ended = match end {
                    End::Done(done) => {
                        let version = done.version.and_then(|id| id.0.parse().ok());
                        Ended::Done { how, version }
                    }
                    End::Lost { .. } => Ended::Lost { ours_was_there: state.ours_is_there(who) },
                    End::SourceChanged(_) => Ended::SourceChanged,
                    End::Failed(_) => Ended::Failed,
                    End::Stop(_) => Ended::Stopped,
                    End::Unknown(_) => Ended::Unknown,
                };
                if !matches!(ended, Ended::Done { .. }) {
                    state.abort(who);
                }
                state.uploaders[who].upload = None;
                Stage::Ended(ended)
            }
        };
    }
}

impl<C: Client> Model for World<C> {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let bounds = &self.bounds;
        let before = |content| Past { by: By::Before, content: Some(content), by_copy: false, upload: None };
        let mut state = State {
            history: bounds.before.map(before).into_iter().collect(),
            uploaders: Vec::new(),
            strays: Vec::new(),
            uploads: Vec::new(),
            strikes: bounds.strikes,
            deletes: bounds.deletes,
            resumes: bounds.resumes,
            copies: bounds.copies,
        };
        for who in 0..bounds.uploaders.len() {
            state.uploaders.push(Uploader {
                stage: Stage::Ended(Ended::Unknown),
                upload: None,
                uploads_begun: 0,
                is_in_doubt: false,
                missed_an_answer: false,
            });
            self.act(&mut state, who, self.fresh(who).begin(), Done::Told);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.is_over() {
            return;
        }
        for (who, uploader) in state.uploaders.iter().enumerate() {
            match &uploader.stage {
                Stage::Asks(_, ask) => {
                    actions.extend([Action::Serve(who), Action::GiveUp(who)]);
                    if matches!(ask, Ask::Write { .. }) {
                        actions.extend(self.bounds.noes.iter().map(|no| Action::Refuse(who, *no)));
                        if uploader.upload.is_some() {
                            actions.push(Action::Repeat(who));
                        }
                        if self.bounds.mangles {
                            actions.push(Action::Mangle(who));
                        }
                        if state.copies > 0 {
                            actions.push(Action::Copy(who));
                        }
                    }
                }
                Stage::Answered(..) => actions.extend([Action::Hear(who), Action::GiveUp(who)]),
                Stage::Ended(Ended::Unknown | Ended::Failed | Ended::Stopped) if state.resumes > 0 => {
                    actions.push(Action::Again(who));
                }
                Stage::Ended(_) => {}
            }
            if state.resumes > 0 && !matches!(uploader.stage, Stage::Ended(_)) {
                actions.push(Action::Crash { who, keeps_upload: false });
                if uploader.upload.is_some() {
                    actions.push(Action::Crash { who, keeps_upload: true });
                }
            }
        }
        for at in 0..state.strays.len() {
            if at == 0 || state.strays[at] != state.strays[at - 1] {
                actions.push(Action::Land(at));
            }
        }
        if state.strikes > 0 {
            actions.extend(self.bounds.contents.iter().map(|content| Action::Strike(content)));
        }
        if state.deletes > 0 && state.current().is_some() {
            actions.push(Action::Delete);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let before = |who: usize| last.uploaders[who].stage.clone();
        match action {
            Action::Serve(who) => {
                let Stage::Asks(write, ask) = before(who) else { return None };
                let reply = self.serve(&mut state, who, ask);
                if self.bounds.answers_wait {
                    state.uploaders[who].stage = Stage::Answered(write, reply);
                } else {
                    self.hear(&mut state, who, write, reply);
                }
            }
            Action::Hear(who) => {
                let Stage::Answered(write, reply) = before(who) else { return None };
                self.hear(&mut state, who, write, reply);
            }
            Action::Repeat(who) => {
                let Stage::Asks(write, _) = before(who) else { return None };
                let upload = last.uploaders[who].upload?;
                let is_it = |past: &Past| past.by == By::Uploader(who) && past.upload == Some(upload);
                let at = last.history.iter().position(is_it)?;
                self.hear(&mut state, who, write, Reply::Written(at));
            }
            Action::Refuse(who, refusal) => {
                let Stage::Asks(write, _) = before(who) else { return None };
                self.hear(&mut state, who, write, Reply::Refused(refusal));
            }
            Action::Mangle(who) => {
                let Stage::Asks(write, ask) = before(who) else { return None };
                let reply = self.serve(&mut state, who, ask);
                if !matches!(reply, Reply::Written(_)) {
                    return None;
                }
                self.hear(&mut state, who, write, Reply::Mangled);
            }
            Action::GiveUp(who) => {
                let (Stage::Asks(write, _) | Stage::Answered(write, _)) = before(who) else { return None };
                let asked = match before(who) {
                    Stage::Asks(_, ask) => ask,
                    Stage::Answered(_, Reply::Absent | Reply::Hidden | Reply::There(_)) => Ask::Look,
                    Stage::Answered(_, Reply::Found(_)) => Ask::Search,
                    Stage::Answered(..) | Stage::Ended(_) => Ask::Write { is_guarded: true },
                };
                state.let_go(who);
                let answer = match asked {
                    Ask::Write { .. } => {
                        state.uploaders[who].is_in_doubt = true;
                        Answer::Put(Err(PutError::Unknown(Cause::default())))
                    }
                    Ask::Look => Answer::Look(None),
                    Ask::Search => Answer::Search(Found::Nothing),
                };
                self.go_on(&mut state, who, write, answer, Done::Told);
            }
            Action::Copy(who) => {
                let Stage::Asks(_, Ask::Write { is_guarded }) = before(who) else { return None };
                state.copies -= 1;
                let upload = last.uploaders[who].upload;
                state.stray(Stray::Write { who, is_guarded, upload, is_copy: true });
            }
            Action::Land(at) => match state.strays.remove(at) {
                Stray::Write { who, is_guarded, upload, is_copy } => {
                    self.write(&mut state, who, is_guarded, upload, is_copy);
                }
                Stray::Abort { who, upload } => state.uploads.retain(|open| *open != (who, upload)),
            },
            Action::Crash { who, keeps_upload } => {
                state.resumes -= 1;
                state.let_go(who);
                state.uploaders[who].is_in_doubt = true;
                if !keeps_upload {
                    state.abort(who);
                }
                self.act(&mut state, who, self.client.resume(self.fresh(who)), Done::Told);
            }
            Action::Again(who) => {
                state.resumes -= 1;
                let next = match before(who) {
                    Stage::Ended(Ended::Unknown) => {
                        state.uploaders[who].is_in_doubt = true;
                        self.client.resume(self.fresh(who))
                    }
                    _ => self.fresh(who).begin(),
                };
                self.act(&mut state, who, next, Done::Told);
            }
            Action::Strike(content) => {
                state.strikes -= 1;
                state.push(By::Stranger, Some(content), false, None);
            }
            Action::Delete => {
                state.deletes -= 1;
                state.push(By::Stranger, None, false, None);
            }
        }
        state.tidy();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        laws::laws(&self.bounds.reaches)
    }
}
