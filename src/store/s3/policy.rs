//! The bucket's own policy, as it stands.

use super::S3;
use super::classify::{self, Answer};
use super::translate::answer_of;
use crate::model::write::LookError;

impl S3 {
    /// GetBucketPolicy: the JSON to the letter. `None` where the bucket has none.
    pub async fn policy(&self) -> Result<Option<String>, LookError> {
        let request =
            self.looking.get_bucket_policy().bucket(&self.bucket).set_expected_bucket_owner(self.owner.clone());
        self.limits.turn().await;
        match request.send().await.map_err(|error| answer_of(&error)) {
            Ok(output) => Ok(output.policy().map(ToOwned::to_owned)),
            Err(Answer::Said { status: 404, code, .. }) if code == "NoSuchBucketPolicy" => Ok(None),
            Err(answer) => Err(classify::look_error(answer)),
        }
    }
}
