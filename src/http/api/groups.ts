import { documentGroup } from './documents.ts'
import { nativeGroup } from './native.ts'
import type { Group } from './operation.ts'
import { operationsGroup } from './operations.ts'
import { sharingGroup } from './sharing.ts'
import { tusGroup } from './tus.ts'
import { watchingGroup } from './watching.ts'

/** Everything that is described, in the order that readers see it. */
export const GROUPS: readonly Group[] = [
  nativeGroup,
  tusGroup,
  sharingGroup,
  watchingGroup,
  operationsGroup,
  documentGroup,
]
