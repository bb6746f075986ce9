/** A playbook as it runs: a tree of nodes with stable ids. It is stored with each run, so later edits change no run. */
import type { OnFailure, PlaybookPhase } from './playbook.ts'

interface Common {
  /** The place in the playbook: `containment.2.1`. */
  readonly id: string
}

/** What {@link Leaf} steps have in common: they are carried out, waited for and recorded. */
interface LeafCommon extends Common {
  readonly phase: PlaybookPhase
  readonly title: string
}

/** Calls a registered action. */
export interface ActionNode extends LeafCommon {
  readonly kind: 'action'
  readonly action: string
  readonly with: Readonly<Record<string, unknown>>
  /** `null`: that of the action. */
  readonly timeoutMs: number | null
  readonly retries: number | null
  readonly onFailure: OnFailure
}

/** Waits for a person. */
interface ManualNode extends LeafCommon {
  readonly kind: 'manual'
  /** `null`: no deadline. */
  readonly timeoutMs: number | null
}

/** Waits. */
interface WaitNode extends LeafCommon {
  readonly kind: 'wait'
  readonly ms: number
}

/** Undoes actions of the run. */
interface UndoNode extends LeafCommon {
  readonly kind: 'undo'
  readonly scope: PlaybookPhase | 'all'
}

/** A node that is carried out. */
export type Leaf = ActionNode | ManualNode | WaitNode | UndoNode

/** Nodes one after the other. */
export interface SequenceNode extends Common {
  readonly kind: 'sequence'
  readonly nodes: readonly Node[]
}

/** A sequence that begins by moving the incident to its phase. */
export interface PhaseNode extends Common {
  readonly kind: 'phase'
  readonly phase: PlaybookPhase
  readonly durationMs: number | null
  readonly nodes: readonly Node[]
}

/** Nodes at the same time. */
interface ParallelNode extends Common {
  readonly kind: 'parallel'
  readonly nodes: readonly Node[]
}

/** Nodes that depend on a condition. */
export interface IfNode extends Common {
  readonly kind: 'if'
  readonly condition: string
  readonly then: Node
  readonly else: Node | null
}

/** A node that is repeated. */
export interface WhileNode extends Common {
  readonly kind: 'while'
  readonly condition: string
  readonly body: Node
  readonly maxRounds: number
}

/** Nodes that depend on a value. */
export interface SwitchNode extends Common {
  readonly kind: 'switch'
  readonly subject: string
  readonly cases: Readonly<Record<string, Node>>
  readonly default: Node | null
}

/** A node. */
export type Node = Leaf | SequenceNode | PhaseNode | ParallelNode | IfNode | WhileNode | SwitchNode

/** A playbook that can run. */
export interface Program {
  readonly playbook: string
  readonly root: SequenceNode
  readonly variables: Readonly<Record<string, string | number | boolean>>
}

/** Every leaf, in the order of the playbook. */
export function leavesOf(node: Node): Leaf[] {
  switch (node.kind) {
    case 'sequence':
    case 'phase':
    case 'parallel':
      return node.nodes.flatMap(leavesOf)
    case 'if':
      return [...leavesOf(node.then), ...(node.else === null ? [] : leavesOf(node.else))]
    case 'while':
      return leavesOf(node.body)
    case 'switch': {
      const others = node.default === null ? [] : leavesOf(node.default)
      return [...Object.values(node.cases).flatMap(leavesOf), ...others]
    }
    case 'action':
    case 'manual':
    case 'wait':
    case 'undo':
    default:
      return [node]
  }
}
