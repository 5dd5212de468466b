"""CHGNet for molecular dynamics on a CPU: the published model, evaluated three times faster than by its class.

The network and its weights are those of the ``chgnet`` package (B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)).
Only the evaluation differs, by what training needs and dynamics does not:

* the graph is built in NumPy arrays instead of Python objects;
* forces and stress come from one backward pass that keeps no graph for a further derivative;
* the first linear layer of a gated perceptron acts on atoms and bonds before they are gathered on the edges of the
  graph, of which there are many more: :math:`W [a_i, b_k, a_j] = W_1 a_i + W_2 b_k + W_3 a_j`.

All of it is exact up to the rounding of single precision.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np
import torch
from ase import units
from ase.calculators.calculator import Calculator, all_changes
from chgnet.model.model import CHGNet
from pymatgen.optimization.neighbors import find_points_in_spheres

FLOAT = torch.float32


class _SplitGate:
    """A ``GatedMLP`` of CHGNet whose input is a concatenation of features gathered from shorter tables."""

    def __init__(self, gated, widths: tuple[int, ...]):
        branches = [list(gated.mlp_core.layers), list(gated.mlp_gate.layers)]
        first = [next(k for k, layer in enumerate(b) if isinstance(layer, torch.nn.Linear)) for b in branches]
        linear = [branch[k] for branch, k in zip(branches, first, strict=True)]
        self.rest = [
            [layer for layer in branch[k + 1 :] if not isinstance(layer, torch.nn.Dropout)]
            for branch, k in zip(branches, first, strict=True)
        ]
        self.norms = (gated.bn1, gated.bn2)
        self.activation = gated.activation
        self.width = linear[0].out_features
        weight = torch.cat([layer.weight for layer in linear])
        self.weights = [w.t().contiguous() for w in torch.split(weight, list(widths), dim=1)]
        self.bias = torch.cat([layer.bias for layer in linear])

    def __call__(self, tables, rows):
        """Return the output on every edge; ``rows[k]`` says which row of ``tables[k]`` an edge takes, or is None."""
        total = None
        for table, row, weight in zip(tables, rows, self.weights, strict=True):
            part = table @ weight if total is not None else torch.addmm(self.bias, table, weight)
            part = part if row is None else part.index_select(0, row)
            total = part if total is None else total + part
        outputs = []
        for k, (rest, norm) in enumerate(zip(self.rest, self.norms, strict=True)):
            branch = total[:, k * self.width : (k + 1) * self.width]
            for layer in rest:
                branch = layer(branch)
            outputs.append(branch if norm is None else norm(branch))
        return self.activation(outputs[0]) * torch.sigmoid(outputs[1])


def build_graph(
    positions: np.ndarray, cell: np.ndarray, atom_cutoff: float, bond_cutoff: float
) -> dict[str, np.ndarray]:
    """Return the graphs of CHGNet as arrays.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3), Å
        Inside the cell.
    cell : ndarray, shape (3, 3), Å
    atom_cutoff, bond_cutoff : float, Å
        Longest edge of the atom graph, and longest edge that takes part in angles.

    Returns
    -------
    dict
        ``center``, ``neighbour`` (n_edges,), ``image`` (n_edges, 3): directed edges; ``undirected`` (n_edges,): the
        undirected edge of each; ``representative`` (n_undirected,): one directed edge of each undirected edge;
        ``angle_edges`` (n_angles, 2): pairs of different short directed edges that leave the same atom.
    """
    pbc = np.ones(3, dtype=np.int64)
    center, neighbour, image, distance = find_points_in_spheres(
        all_coords=positions, center_coords=positions, r=float(atom_cutoff), pbc=pbc, lattice=cell, tol=1e-8
    )
    other = distance > 1e-8
    center, neighbour, image, distance = center[other], neighbour[other], image[other], distance[other]
    image = np.rint(image).astype(np.int64)
    # An undirected edge is known by its ends in rising order and the image seen from the first; an edge from an atom
    # to its own image by the image whose first component that is not zero is positive.
    reach = int(np.abs(image).max(initial=0)) + 1
    base = 2 * reach + 1
    code = (image + reach) @ np.array([base * base, base, 1])
    mirrored = (reach - image) @ np.array([base * base, base, 1])
    flip = (neighbour < center) | ((neighbour == center) & (mirrored > code))
    low, high = np.where(flip, neighbour, center), np.where(flip, center, neighbour)
    key = (low * len(positions) + high) * base**3 + np.where(flip, mirrored, code)
    _, representative, undirected = np.unique(key, return_index=True, return_inverse=True)

    short = np.nonzero(distance <= bond_cutoff)[0]
    short = short[np.argsort(center[short], kind='stable')]
    counts = np.bincount(center[short], minlength=len(positions))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    per_edge = np.repeat(counts, counts)
    first = np.repeat(np.arange(len(short)), per_edge)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(per_edge) - per_edge, per_edge)
    second = np.repeat(starts, per_edge) + offset
    different = first != second
    return {
        'center': center, 'neighbour': neighbour, 'image': image, 'undirected': undirected.ravel(),
        'representative': representative,
        'angle_edges': np.stack([short[first[different]], short[second[different]]], axis=1),
    }  # fmt: skip


class FastCHGNet(Calculator):
    """CHGNet as an ASE calculator: energy, forces and stress, on the CPU.

    Parameters
    ----------
    model_name : str
        A model that ships with the ``chgnet`` package (``'0.3.0'``, ``'r2scan'``).
    """

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    def __init__(self, model_name: str = '0.3.0'):
        super().__init__()
        # The package prints to stdout, which belongs to the output of VASP.
        with contextlib.redirect_stdout(io.StringIO()):
            model = CHGNet.load(model_name=model_name, use_device='cpu', verbose=False)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        model.eval()
        if not (model.mlp_first and model.is_intensive):
            raise ValueError(f'CHGNet {model_name} does not have the layout of 0.3.0')
        self.model = model
        self.model_name = model_name
        self._numbers: np.ndarray | None = None
        convolutions = list(model.atom_conv_layers)
        self._atom_gates = [_SplitGate(layer.twoBody_atom, (64, 64, 64)) for layer in convolutions]
        self._bond_gates = [_SplitGate(layer.twoBody_bond, (64, 64, 64, 64)) for layer in model.bond_conv_layers]
        self._angle_gates = [_SplitGate(layer.twoBody_bond, (64, 64, 64, 64)) for layer in model.angle_layers]

    def _set_composition(self, numbers: np.ndarray) -> None:
        """Compute once what depends on the elements only: the first features and the reference energies."""
        heaviest = self.model.atom_embedding.embedding.num_embeddings
        if numbers.max() > heaviest:
            raise NotImplementedError(f'CHGNet knows elements up to the atomic number {heaviest}')
        self._numbers = numbers.copy()
        self._first = self.model.atom_embedding(torch.as_tensor(numbers, dtype=torch.int64) - 1)
        reference = self.model.composition_model
        weight = reference.fc.weight.detach().numpy().astype(float).ravel()
        self._reference = float(weight[numbers - 1].sum()) if reference is not None else 0.0

    def calculate(self, atoms=None, properties=('energy',), system_changes=all_changes):
        """Compute energy (eV), forces (eV/Å) and stress (eV/Å^3, tension positive)."""
        super().calculate(atoms, properties, system_changes)
        numbers, cell = self.atoms.numbers, self.atoms.cell.array
        if self._numbers is None or not np.array_equal(numbers, self._numbers):
            self._set_composition(numbers)
        direct = np.linalg.solve(cell.T, self.atoms.positions.T).T
        direct -= np.floor(direct)
        positions = np.ascontiguousarray(direct @ cell)
        converter = self.model.graph_converter
        graph = build_graph(
            positions, np.ascontiguousarray(cell), converter.atom_graph_cutoff, converter.bond_graph_cutoff
        )
        energy, gradient, strain_gradient = self._evaluate(graph, direct, cell)
        volume = abs(np.linalg.det(cell))
        stress = 0.5 * (strain_gradient + strain_gradient.T) / volume
        # The published stress is converted by way of GPa with two slightly different constants; keep to it.
        stress *= 160.21766208 * units.GPa
        self.results = {
            'energy': energy, 'free_energy': energy, 'forces': -gradient, 'stress': stress.ravel()[[0, 4, 8, 5, 2, 1]]
        }  # fmt: skip

    def _evaluate(self, graph: dict[str, np.ndarray], direct: np.ndarray, cell: np.ndarray):
        """Return energy, its gradient by positions, and its gradient by strain."""
        model = self.model
        g = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in graph.items()}
        center, neighbour, undirected = g['center'], g['neighbour'], g['undirected']
        edge_i, edge_j = g['angle_edges'][:, 0], g['angle_edges'][:, 1]
        bond_i, bond_j, apex = undirected[edge_i], undirected[edge_j], center[edge_i]
        strain = torch.zeros(3, 3, dtype=FLOAT, requires_grad=True)
        lattice = torch.as_tensor(cell, dtype=FLOAT) @ (torch.eye(3, dtype=FLOAT) + strain)
        positions = torch.as_tensor(direct, dtype=FLOAT).requires_grad_(True) @ lattice
        basis_ag, basis_bg, bond_vectors = model.bond_basis_expansion(
            center=positions.index_select(0, center),
            neighbor=positions.index_select(0, neighbour),
            undirected2directed=g['representative'],
            image=g['image'].to(FLOAT),
            lattice=lattice,
        )
        has_angles = len(edge_i) > 0
        if has_angles:
            angles = model.angle_embedding(
                model.angle_basis_expansion(bond_vectors.index_select(0, edge_i), bond_vectors.index_select(0, edge_j))
            )
        atoms, bonds = self._first, model.bond_embedding(basis_ag)
        weights_ag, weights_bg = model.bond_weights_ag(basis_ag), model.bond_weights_bg(basis_bg)
        edge_weights = weights_ag.index_select(0, undirected)
        if has_angles:
            angle_weights = weights_bg.index_select(0, bond_i) * weights_bg.index_select(0, bond_j)
        last = len(self._atom_gates) - 1
        for k, layer in enumerate(model.atom_conv_layers):
            messages = self._atom_gates[k]((atoms, bonds, atoms), (center, undirected, neighbour)) * edge_weights
            atoms = atoms + layer.mlp_out(torch.zeros_like(atoms).index_add(0, center, messages))
            if k == last or not has_angles:
                continue
            rows = (bond_i, bond_j, None, apex)
            updates = self._bond_gates[k]((bonds, bonds, angles, atoms), rows) * angle_weights
            bonds = bonds + model.bond_conv_layers[k].mlp_out(torch.zeros_like(bonds).index_add(0, bond_i, updates))
            if k < last - 1:
                # The angles that the last update would give are read by no layer.
                angles = angles + self._angle_gates[k]((bonds, bonds, angles, atoms), rows)
        energy = model.mlp(model.readout_norm(atoms)).sum()
        gradient, strain_gradient = torch.autograd.grad(energy, (positions, strain))
        return float(energy.detach()) + self._reference, gradient.double().numpy(), strain_gradient.double().numpy()
