//! The server: decides each request in one step, as S3 does, and answers in the words of the production types.

use noclobber::guard::{Answer, Found};
use noclobber::model::digest::ETag;
use noclobber::model::entry::Properties;
use noclobber::model::head::{Encryption, Head, HeldChecksums, Remote, VersionId};
use noclobber::model::write::{Cause, PutError, Written};

use crate::client::Client;
use crate::world::{Ask, By, Reply, State, World};

impl<C: Client> World<C> {
    /// What the server does with a write.
    pub fn write(&self, state: &mut State, who: usize, is_guarded: bool, upload: Option<u8>, by_copy: bool) -> Reply {
        let planned = &self.bounds.uploaders[who];
        if let Some(upload) = upload
            && !state.uploads.contains(&(who, upload))
        {
            return Reply::NoSuchUpload;
        }
        let current = state.current().and_then(|past| past.content);
        if is_guarded && current != planned.over {
            return Reply::Lost;
        }
        state.uploads.retain(|open| Some(open.1) != upload || open.0 != who);
        Reply::Written(state.push(By::Uploader(who), Some(planned.content), by_copy, upload))
    }

    fn look(&self, state: &State) -> Reply {
        match state.current() {
            _ if self.bounds.is_hidden => Reply::Hidden,
            None => Reply::Absent,
            Some(_) => Reply::There(state.history.len() - 1),
        }
    }

    fn search(&self, state: &State, who: usize) -> Reply {
        let newest = state.history.len().saturating_sub(1);
        let is_ours = |at: &usize| state.history[*at].by == By::Uploader(who);
        let is_kept = |at: &usize| self.bounds.is_versioned || *at == newest;
        // A bucket without versions lists the object that is there.
        Reply::Found((0..state.history.len()).rev().filter(is_kept).find(is_ours))
    }

    pub fn serve(&self, state: &mut State, who: usize, ask: Ask) -> Reply {
        match ask {
            Ask::Write { is_guarded } => {
                let upload = state.uploaders[who].upload;
                self.write(state, who, is_guarded, upload, false)
            }
            Ask::Look => self.look(state),
            Ask::Search => self.search(state, who),
        }
    }

    /// A reply in the words of the production type.
    pub fn answer(&self, state: &State, reply: Reply) -> Answer {
        let cause = Cause::default;
        let version = |at: usize| self.bounds.is_versioned.then(|| VersionId(at.to_string()));
        let etag = |at: usize| ETag::new(state.history[at].content.unwrap_or_default());
        match reply {
            Reply::Written(at) => Answer::Put(Ok(Written {
                etag: Some(etag(at)),
                version: version(at),
                request_id: None,
                http_status: 200,
            })),
            Reply::Lost => Answer::Put(Err(PutError::Lost(cause()))),
            Reply::NoSuchUpload => Answer::Put(Err(PutError::Unknown(cause()))),
            Reply::Refused(refusal) => Answer::Put(Err(PutError::Refused(refusal, cause()))),
            Reply::Mangled => Answer::Put(Err(PutError::Mangled(cause()))),
            Reply::Absent => Answer::Look(Some(Remote::Absent)),
            Reply::Hidden => Answer::Look(Some(Remote::Unseen)),
            Reply::There(at) => Answer::Look(Some(Remote::Present(Box::new(Head {
                size: 1,
                etag: etag(at),
                version: version(at),
                last_modified: None,
                encryption: Encryption::None,
                checksums: HeldChecksums::default(),
                first_part: None,
                properties: Properties::default(),
                claim: None,
                write_id: match state.history[at].by {
                    By::Uploader(who) => Some(self.bounds.uploaders[who].write_id.to_owned()),
                    By::Before | By::Stranger => None,
                },
            })))),
            Reply::Found(Some(at)) => Answer::Search(Found::Ours {
                etag: Some(etag(at)),
                version: Some(VersionId(if self.bounds.is_versioned { at.to_string() } else { "null".to_owned() })),
            }),
            Reply::Found(None) => Answer::Search(Found::Nothing),
        }
    }
}
