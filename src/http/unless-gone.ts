import { HttpError } from '../core/errors.ts'
import type { Uploads } from '../uploads/use-cases.ts'

/**
 * What fails because its upload was deleted meanwhile has not failed: downloads take no lock.
 * @throws {HttpError} not_found 404, gone 410: it is not there any more; else what `work` threw
 */
export async function unlessGone(
  uploads: Pick<Uploads, 'get'>,
  id: string,
  work: Promise<void>,
): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof HttpError) || error.status >= 500) await uploads.get(id)
    throw error
  }
}
