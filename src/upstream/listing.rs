//! Asks an upstream for its list of models: what a probe sends, because it costs no tokens.

use std::time::Instant;

use bursar_actors::{ErrorClass, Secret};

use super::authority::Proof;
use super::{Destination, Failure, Reply, Upstream, dial, judge_head};

impl Upstream {
    /// Sends `GET <base_url>/models` and returns the answer if its status is 2xx, else what the refusal means, as
    /// [`Upstream::send`] does. Gives up at `head_by`.
    pub async fn list_models(
        &self,
        destination: &Destination,
        secret: Option<&Secret>,
        head_by: Instant,
    ) -> Result<Reply, Failure> {
        let call = |proof: Option<Proof>| async move { self.list_once(destination, proof.as_ref(), head_by).await };
        self.authorized(secret, head_by, call).await
    }

    async fn list_once(
        &self,
        destination: &Destination,
        proof: Option<&Proof>,
        head_by: Instant,
    ) -> Result<Reply, Failure> {
        let client = self.client(&destination.dial);
        let response = tokio::time::timeout_at(head_by.into(), async {
            let sent = match dial::noting_connections(get(&client, destination, proof)?).await {
                // The upstream closed an idle connection as the request was on its way.
                (Err(error), None) if dial::may_be_stale(&error) => get(&client, destination, proof)?.await,
                (sent, _) => sent,
            };
            sent.map_err(|error| dial::of_send_error(&error, &destination.models))
        })
        .await
        .map_err(|_| Failure::plain(ErrorClass::FirstByteTimeout, "no first byte from the upstream in time"))??;
        judge_head(response).await
    }
}

fn get(
    client: &awc::Client,
    destination: &Destination,
    proof: Option<&Proof>,
) -> Result<awc::SendClientRequest, Failure> {
    let mut request = client.get(&destination.models).no_decompress();
    let headers = request.headers_mut();
    for (name, value) in &destination.headers {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(proof) = proof {
        proof.show(headers, &destination.format.auth, "GET", &destination.models, b"")?;
    }
    Ok(request.send())
}
