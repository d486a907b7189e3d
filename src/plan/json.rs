//! The plan as one JSON document, part by part: `{"counts", "digest", "header", "steps"}`. What is short stands first.

use crate::model::step::{Footer, Header, Step, digest_text};

/// All that stands before the steps.
pub fn head(header: &Header, footer: &Footer) -> Result<String, serde_json::Error> {
    let counts = serde_json::to_string(&footer.counts)?;
    let digest = serde_json::to_string(&digest_text(&footer.digest))?;
    let header = serde_json::to_string(header)?;
    Ok(format!("{{\"counts\":{counts},\"digest\":{digest},\"header\":{header},\"steps\":["))
}

/// One step, with the comma that may stand before it.
pub fn step(step: &Step) -> Result<String, serde_json::Error> {
    let comma = if step.n > 1 { "," } else { "" };
    Ok(format!("{comma}{}", serde_json::to_string(step)?))
}

/// The end of the document.
pub const FOOT: &str = "]}\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples;

    #[test]
    fn the_parts_make_one_document_that_has_every_step() {
        for (header, steps) in [
            (samples::header(), Vec::new()),
            (samples::header(), samples::steps()),
            (samples::undoing(), samples::undo()),
        ] {
            let plan = samples::plan(header, steps);
            let mut text = head(&plan.header, &plan.footer).unwrap();
            for one in &plan.steps {
                text.push_str(&step(one).unwrap());
            }
            text.push_str(FOOT);
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(document["steps"], serde_json::to_value(&plan.steps).unwrap());
            assert_eq!(document["header"], serde_json::to_value(&plan.header).unwrap());
            assert_eq!(document["counts"], serde_json::to_value(plan.footer.counts).unwrap());
            assert_eq!(document["digest"], digest_text(&plan.footer.digest));
        }
    }
}
