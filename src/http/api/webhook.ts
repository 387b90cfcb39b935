import { z } from 'zod'
import { uploadEvent } from '../webhook-schemas.ts'

/** What the server sends by itself, to those in `WEBHOOK_URL`. */
export const WEBHOOK = {
  id: 'uploadEvent',
  summary: 'Told of what became of an upload',
  description:
    'With `WEBHOOK_URL` set, at least once for each event, and signed as ' +
    '[Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) ' +
    'says. Check the signature before you believe it, and keep ids: an event may come again.',
  headers: {
    'webhook-id': z.uuid().describe('The `id` of the event.'),
    'webhook-timestamp': z.number().int().describe('When this attempt began, in seconds since 1970.'),
    'webhook-signature': z
      .string()
      .describe(
        '`v1,` and the base64 of the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`; one for each ' +
          'secret of `WEBHOOK_SECRET`, with spaces in between.',
      ),
  },
  body: uploadEvent,
}
