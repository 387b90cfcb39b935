import type { Terminal } from '../terminal/output.ts'
export interface DoctorOptions { url?: string; apiKey?: string; origin?: string; deep?: boolean; json?: boolean }
export async function doctor(_t: Terminal, _o: DoctorOptions): Promise<number> { return 0 }
