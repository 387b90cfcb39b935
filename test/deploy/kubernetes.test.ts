import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { deployed, ROOT } from './programs.ts'
import { ENDING_MS, isPinned, settingsOf } from './settings.ts'

const FOLDER = deployed('kubernetes')
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'))
const manifests = FILES.flatMap((file) =>
  parseAllDocuments(readFileSync(path.join(FOLDER, file), 'utf8')).map((document) => {
    expect(document.errors, `${file} parses`).toEqual([])
    return { file, body: document.toJS() }
  }),
)
const of = (kind: string): any => {
  const found = manifests.filter(({ body }) => body.kind === kind)
  if (found.length !== 1) throw new Error(`${found.length} manifests of ${kind}`)
  return found[0]?.body
}

/** Where kubernetes-models has the types of the kinds that are in use. */
const TYPES: Record<string, string> = {
  Namespace: 'v1',
  ConfigMap: 'v1',
  Secret: 'v1',
  Service: 'v1',
  Deployment: 'apps/v1',
  PodDisruptionBudget: 'policy/v1',
  NetworkPolicy: 'networking.k8s.io/v1',
  Ingress: 'networking.k8s.io/v1',
}
/** Of other APIs than Kubernetes' own. */
const FOREIGN = new Set(['Kustomization', 'ServiceMonitor'])

/** What TypeScript says of the manifests as values of the API's types: missing, misspelled and wrong fields. */
async function faultsOf(bodies: any[]): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'manifests-'))
  try {
    await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
    const lines = bodies.flatMap((body, at) => [
      `import type { I${body.kind} as Type${at} } from 'kubernetes-models/${TYPES[body.kind]}/${body.kind}'`,
      `export const manifest${at}: Type${at} = ${JSON.stringify(body)}`,
    ])
    await writeFile(path.join(folder, 'manifests.ts'), lines.join('\n'))
    const tsc = path.join(ROOT, 'node_modules', '.bin', 'tsc')
    const compilerOptions = {
      noEmit: true,
      strict: true,
      skipLibCheck: true,
      types: [],
      module: 'esnext',
      moduleResolution: 'bundler',
    }
    await writeFile(
      path.join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, files: ['manifests.ts'] }),
    )
    const { stdout } = await promisify(execFile)(tsc, ['-p', folder]).catch((error) => error)
    return stdout
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

test('every manifest keeps to the types of its API', async () => {
  const typed = manifests.map(({ body }) => body).filter(({ kind }) => !FOREIGN.has(kind))
  for (const body of typed) expect(body.apiVersion, `of ${body.kind}`).toBe(TYPES[body.kind])
  expect(typed).toHaveLength(Object.keys(TYPES).length)
  expect(await faultsOf(typed)).toBe('')
})

test('a field that no API has is found', async () => {
  const deployment = structuredClone(of('Deployment'))
  deployment.spec.template.spec.containers[0].readynessProbe = {}
  expect(await faultsOf([deployment])).toContain('readynessProbe')
})

test('kustomization.yaml names every manifest that is there, but for what is to be made or optional', () => {
  const { resources, images } = of('Kustomization')
  const there = FILES.filter((name) => !['kustomization.yaml', 'servicemonitor.yaml'].includes(name))
  // secret.yaml is made of secret.example.yaml.
  expect(resources.toSorted()).toEqual(there.map((name) => name.replace('.example', '')).toSorted())
  for (const { name, newName, newTag } of images) {
    expect(name).toBe(of('Deployment').spec.template.spec.containers[0].image)
    expect(isPinned(`${newName}:${newTag}`)).toBe(true)
  }
})

const pod = () => of('Deployment').spec.template.spec
const settings = () =>
  settingsOf({ NODE_ENV: 'production', ...of('ConfigMap').data, ...of('Secret').stringData })

test('the settings fit together, and every secret says that it must be changed', () => {
  expect(settings()).toMatchObject({ leases: true, trustProxy: true, storage: { backend: 's3' } })
  for (const [name, value] of Object.entries(of('Secret').stringData))
    expect(value, `value of ${name}`).toContain('CHANGE-ME')
  const [{ envFrom }] = pod().containers
  expect(envFrom.map((from: any) => (from.configMapRef ?? from.secretRef).name)).toEqual([
    of('ConfigMap').metadata.name,
    of('Secret').metadata.name,
  ])
})

test('a pod has longer to end than preStop and the server take together', () => {
  const [{ lifecycle }] = pod().containers
  const [command, seconds] = lifecycle.preStop.exec.command
  expect(command).toBe('sleep')
  expect(pod().terminationGracePeriodSeconds * 1000).toBeGreaterThanOrEqual(
    Number(seconds) * 1000 + settings().shutdownGraceMs + ENDING_MS,
  )
})

test('a pod lives by /health and gets requests by /ready', () => {
  const [{ livenessProbe, startupProbe, readinessProbe }] = pod().containers
  expect([livenessProbe, startupProbe, readinessProbe].map(({ httpGet }) => httpGet.path)).toEqual([
    '/health',
    '/health',
    '/ready',
  ])
  // A database that is away is told within five seconds.
  expect(readinessProbe.timeoutSeconds).toBeGreaterThan(5)
})

test('a pod keeps to the restricted pod security standard, which the namespace asks for', () => {
  expect(of('Namespace').metadata.labels['pod-security.kubernetes.io/enforce']).toBe('restricted')
  expect(pod().securityContext).toMatchObject({
    runAsNonRoot: true,
    seccompProfile: { type: 'RuntimeDefault' },
  })
  for (const name of ['hostNetwork', 'hostPID', 'hostIPC', 'initContainers'])
    expect(pod()[name]).toBeUndefined()
  for (const { securityContext } of pod().containers)
    expect(securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
  for (const volume of pod().volumes) expect(Object.keys(volume)).toEqual(['name', 'emptyDir'])
})

test('whatever selects the pods selects these, and ports go by their name', () => {
  const { labels } = of('Deployment').spec.template.metadata
  const selectors = [
    of('Deployment').spec.selector.matchLabels,
    of('Service').spec.selector,
    of('PodDisruptionBudget').spec.selector.matchLabels,
    of('NetworkPolicy').spec.podSelector.matchLabels,
  ]
  for (const selector of selectors) expect(labels).toMatchObject(selector)
  expect(of('Service').metadata.labels).toMatchObject(of('ServiceMonitor').spec.selector.matchLabels)
  const [{ name }] = pod().containers[0].ports
  const [port] = of('Service').spec.ports
  expect(port.targetPort).toBe(name)
  expect(of('ServiceMonitor').spec.endpoints[0].port).toBe(port.name)
  const [{ backend }] = of('Ingress').spec.rules[0].http.paths
  expect(backend.service).toEqual({ name: of('Service').metadata.name, port: { name: port.name } })
})

test('all are in one namespace, and never more than one pod is taken away', () => {
  const namespace = of('Namespace').metadata.name
  for (const { file, body } of manifests)
    if (body.metadata && body.kind !== 'Namespace')
      expect(body.metadata.namespace, `of ${file}`).toBe(namespace)
  expect(of('Deployment').spec.replicas).toBeGreaterThan(1)
  expect(of('PodDisruptionBudget').spec.maxUnavailable).toBe(1)
})

test('the ingress neither buffers nor limits bodies, and waits longer than the server lets them wait', () => {
  const { annotations } = of('Ingress').metadata
  const about = (name: string) => annotations[`nginx.ingress.kubernetes.io/${name}`]
  expect([about('proxy-request-buffering'), about('proxy-buffering'), about('proxy-body-size')]).toEqual([
    'off',
    'off',
    '0',
  ])
  for (const name of ['proxy-send-timeout', 'proxy-read-timeout'])
    expect(Number(about(name)) * 1000).toBeGreaterThan(
      Math.max(settings().admissionWaitMs, settings().bodyIdleTimeoutMs),
    )
})
