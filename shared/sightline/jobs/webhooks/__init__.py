from sightline.jobs.webhooks.deliveries import Deliveries
from sightline.jobs.webhooks.metrics import WebhookMetrics
from sightline.jobs.webhooks.receiver import checked_webhook
from sightline.jobs.webhooks.sender import Sender
from sightline.jobs.webhooks.settings import WebhookSettings

__all__ = ["Deliveries", "Sender", "WebhookMetrics", "WebhookSettings", "checked_webhook"]
