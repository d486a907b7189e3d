//! What the server holds of uploads that are not complete.

use aws_sdk_s3::types::EncodingType;

use super::classify::{self, Answer};
use super::translate::{self, answer_of};
use super::{S3, looked};
use crate::model::digest::{ETag, Sha256};
use crate::model::entry::Key;
use crate::model::write::LookError;
use crate::store::{HeldPart, OpenUpload, UploadId, UploadsMark, UploadsPage};

/// A page holds 1,000 parts, and an upload 10,000.
const PART_PAGES_MAX: usize = 10;

/// In order, without those that are told more than once: SeaweedFS keeps a part that another one replaced, and does not
/// say which counts.
fn unambiguous(mut held: Vec<HeldPart>) -> Vec<HeldPart> {
    held.sort_unstable_by_key(|part| part.number);
    held.chunk_by(|a, b| a.number == b.number).filter(|same| same.len() == 1).flatten().cloned().collect()
}

impl S3 {
    pub(super) async fn held_parts(&self, key: &Key, upload: &UploadId) -> Result<Option<Vec<HeldPart>>, LookError> {
        let mut held = Vec::new();
        let mut marker = None;
        for _ in 0..PART_PAGES_MAX {
            let request = self
                .looking
                .list_parts()
                .bucket(&self.bucket)
                .key(key.as_str())
                .upload_id(&upload.0)
                .set_part_number_marker(marker.take())
                .set_expected_bucket_owner(self.owner.clone())
                .set_request_payer(self.payer.clone());
            self.limits.turn().await;
            let output = match request.send().await.map_err(|error| answer_of(&error)) {
                Ok(output) => output,
                Err(Answer::Said { status: 404, code, .. }) if code != "NoSuchBucket" => return Ok(None),
                Err(answer) => return Err(classify::look_error(answer)),
            };
            for part in output.parts() {
                // A part that is told by half is sent again.
                let (Some(number), Some(size), Some(etag)) = (
                    part.part_number().and_then(|number| u32::try_from(number).ok()),
                    translate::size(part.size()),
                    part.e_tag(),
                ) else {
                    continue;
                };
                let sha256 = part.checksum_sha256().and_then(|text| Sha256::from_base64(text).ok());
                held.push(HeldPart { number, size, etag: ETag::new(etag), sha256 });
            }
            marker = output.next_part_number_marker().map(ToOwned::to_owned);
            if !output.is_truncated().unwrap_or(false) || marker.is_none() {
                break;
            }
        }
        Ok(Some(unambiguous(held)))
    }

    pub(super) async fn open_uploads(
        &self,
        prefix: &str,
        after: Option<&UploadsMark>,
    ) -> Result<UploadsPage, LookError> {
        let request = self
            .looking
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_key_marker(after.map(|mark| mark.key.clone()))
            .set_upload_id_marker(after.and_then(|mark| mark.upload.clone()))
            // Keys may hold characters that XML cannot.
            .encoding_type(EncodingType::Url)
            .set_expected_bucket_owner(self.owner.clone())
            .set_request_payer(self.payer.clone());
        self.limits.turn().await;
        let output = looked(request.send().await)?;
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let uploads = output.uploads().iter().filter_map(|open| {
            Some(OpenUpload {
                key: Key::new(translate::key(open.key()?, encoded)),
                upload: UploadId(open.upload_id()?.to_owned()),
                initiated: translate::time(open.initiated()).and_then(|time| time.parse().ok()),
            })
        });
        let next = output.next_key_marker().filter(|_| output.is_truncated().unwrap_or(false)).map(|key| UploadsMark {
            key: translate::key(key, encoded),
            upload: output.next_upload_id_marker().map(ToOwned::to_owned),
        });
        Ok(UploadsPage { uploads: uploads.collect(), next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_told_twice_is_not_told() {
        let part = |number: u32, etag: &str| HeldPart { number, size: 5, etag: ETag::new(etag), sha256: None };
        let told = vec![part(3, "c"), part(1, "a"), part(2, "b"), part(2, "other")];
        assert_eq!(unambiguous(told), [part(1, "a"), part(3, "c")]);
        assert_eq!(unambiguous(Vec::new()), []);
    }
}
