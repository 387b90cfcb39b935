import { z } from 'zod'
import { uploadId } from './native-schemas.ts'

/** What routes of links and of upload tokens take and give. */

/** Ten years, which is as good as forever. */
const MAX_TOKEN_SECONDS = 315_360_000

const seconds = z.number().int().min(1)

export const linkRequest = z
  .object({
    expires_in: seconds
      .nullish()
      .describe('Seconds, up to `LINK_MAX_SECONDS`; `LINK_DEFAULT_SECONDS` where it is left out.'),
    disposition: z
      .enum(['attachment', 'inline'])
      .nullish()
      .describe('`inline` lets browsers show what the server lets them show. Else they save it.'),
  })
  .meta({ id: 'LinkRequest', description: 'How long a link is good, and for what.' })

/** The same, of a server whose links last no longer than this. */
export const linkRequestUpTo = (maxSeconds: number) =>
  linkRequest.extend({ expires_in: seconds.max(maxSeconds).nullish() })

export const linkAnswer = z
  .object({
    url: z.string().describe('The file, for whoever has this URL.'),
    expires_at: z.iso.datetime(),
  })
  .meta({ id: 'Link', description: 'A link to the file.' })

export const tokenRequest = z
  .object({
    expires_in: seconds
      .max(MAX_TOKEN_SECONDS)
      .nullish()
      .describe('Seconds; where it is left out, the token lives as long as the unfinished upload.'),
  })
  .meta({ id: 'UploadTokenRequest', description: 'How long a token is good.' })

export const tokenAnswer = z
  .object({
    token: z.string().describe('Goes where a key would go.'),
    upload_id: uploadId,
    expires_at: z.iso.datetime(),
    endpoints: z
      .object({
        tus: z.string(),
        upload: z.string(),
        chunk: z.string().describe('With `{index}` where the index goes.'),
        missing_chunks: z.string(),
        complete: z.string(),
      })
      .describe('Where the token is good.'),
  })
  .meta({ id: 'UploadToken', description: 'A token for one upload.' })
