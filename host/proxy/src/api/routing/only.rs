//! The part of `/routing` that a query asks for: `?model=ID`, `?deployment=NAME`, or both.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use fleet::FleetModel;

/// The models and deployments that are shown.
#[derive(Debug, Default)]
pub(in crate::api) struct Only {
    /// Id or alias of a model. None: all.
    model: Option<String>,
    /// Name of a deployment. None: all. Its signals are shown, too.
    deployment: Option<String>,
}

impl Only {
    /// What a query asks for. Other parameters are ignored, as elsewhere.
    pub(in crate::api) fn of(query: Option<&str>) -> Self {
        let mut only = Self::default();
        for part in query.unwrap_or_default().split('&') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let value = percent_decode_str(value).decode_utf8().map(Cow::into_owned).ok();
            match key {
                "model" => only.model = value,
                "deployment" => only.deployment = value,
                _ => {}
            }
        }
        only
    }

    /// Whether the model is shown.
    pub(super) fn shows(&self, model: &FleetModel) -> bool {
        let config = &model.config;
        let is_it = |name: &String| config.id == *name || config.aliases.contains(name);
        let mut names = model.deployments.iter().map(|deployment| &deployment.config.name);
        self.model.as_ref().is_none_or(is_it) && names.any(|name| self.shows_deployment(name))
    }

    /// Whether the deployment with this name is shown.
    pub(super) fn shows_deployment(&self, name: &str) -> bool {
        self.deployment.as_ref().is_none_or(|only| only == name)
    }

    /// Whether signals are shown. They are read from live state, so a whole fleet has none.
    pub(super) fn has_signals(&self) -> bool {
        self.deployment.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_model_and_a_deployment() {
        let asked = |query| {
            let Only { model, deployment } = Only::of(query);
            (model, deployment)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(asked(None), (None, None));
        assert_eq!(asked(Some("")), (None, None));
        assert_eq!(asked(Some("x=1&deployment=gpu-1")), (None, some("gpu-1")));
        assert_eq!(
            asked(Some("model=org%2Fmodel%20a&deployment=caf%C3%A9")),
            (some("org/model a"), some("café"))
        );
        assert_eq!(asked(Some("deployment=%ff&model&&=")), (None, None));
    }
}
