import { nativeApi } from '../client/native.ts'
import { tusApi } from '../client/tus.ts'
import { skipped, type Check } from './finding.ts'
import { bodyChecks } from './remote-bodies.ts'
import { browserChecks } from './remote-browser.ts'
import { headChecks } from './remote-heads.ts'
import { reachChecks } from './remote-reach.ts'
import { roundTripChecks } from './remote-round-trips.ts'
import type { Deployment, Patient } from './patient.ts'

/** What a client meets on its way to a server and back: everything between the two may be set wrongly. */
export function remoteChecks(deployment: Deployment): { checks: Check[]; cleanUp(): Promise<void> } {
  const { send } = deployment
  const made = new Set<string>()
  const patient: Patient = {
    ...deployment,
    native: nativeApi(send),
    tus: tusApi(send),
    made,
    condition: { reached: false, known: false },
  }
  const { condition } = patient
  const unless = (is: () => boolean, because: string, checks: Check[]): Check[] =>
    checks.map(([name, look]) => [name, () => (is() ? look() : skipped(because))])

  return {
    checks: [
      ...reachChecks(patient),
      ...unless(() => condition.reached, 'nobody answers there', browserChecks(patient)),
      ...unless(() => condition.known, 'needs a key that the server takes', [
        ...headChecks(patient),
        ...bodyChecks(patient),
        ...roundTripChecks(patient),
      ]),
    ],
    async cleanUp() {
      await Promise.all([...made].map((id) => patient.native.remove(id).catch(() => {})))
    },
  }
}
