/** Compares the stored state with the checkpoint and the tree that it stands for. */
import { parseCheckpoint } from '../log/checkpoint.ts'
import type { LogState, VerifiableLog } from '../log/log-store.ts'
import { openNote, type NoteKey } from '../log/signed-note.ts'
import { TreeEdge } from '../log/tree-edge.ts'
import type { Findings } from './report.ts'

/** The next step of the log would build on the state, so an edited one is reported before that. */
export function checkState(
  store: VerifiableLog,
  state: LogState,
  keys: readonly NoteKey[],
  findings: Findings,
): void {
  if (store.kind === 'tiles') return
  const report = (detail: string) => findings.add({ kind: 'state', detail })
  const opened = openNote(state.note, keys)
  const checkpoint = typeof opened === 'object' ? parseCheckpoint(opened.text) : undefined
  if (checkpoint !== undefined && !checkpoint.root.equals(state.root)) {
    report('the root in the state differs from the last checkpoint')
  }
  if (!edgeFits(state)) report('the edge of the tree in the state differs from its root')
}

function edgeFits({ size, edge, root }: LogState): boolean {
  try {
    return new TreeEdge(size, edge).root().equals(root)
  } catch {
    return false
  }
}
