from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Names in Redis that are read outside the scripts; those of the queue itself are in `lua/common.lua`."""

    prefix: str

    def job(self, job_id: str) -> str:
        return f"{self.prefix}job:{job_id}"

    def events(self, job_id: str) -> str:
        return f"{self.prefix}events:{job_id}"

    def wake(self, model: str) -> str:
        return f"{self.prefix}wake:{model}"

    def cancelled(self, model: str) -> str:
        return f"{self.prefix}cancelled:{model}"

    def models(self) -> str:
        return f"{self.prefix}models"

    def webhooks_due(self) -> str:
        return f"{self.prefix}webhooks:due"

    def webhook_delivery(self, job_id: str) -> str:
        return f"{self.prefix}webhooks:delivery:{job_id}"
