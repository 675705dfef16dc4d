"""A graph for ``langgraph dev`` without a model: it repeats what it was told, in two steps, or fails on request."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]


def begin(state: State) -> dict[str, Any]:
    """The start of the answer, in a message that the next step replaces."""
    last = state["messages"][-1]
    if "please fail" in last.content:
        raise ValueError("the graph was asked to fail")
    return {"messages": [AIMessage("You said:", id=f"answer-{last.id}")]}


def finish(state: State) -> dict[str, Any]:
    """The whole answer: everything that the user has said in this thread."""
    *before, begun = state["messages"]
    told = " ".join(str(message.content) for message in before if message.type == "human")
    usage = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    return {"messages": [AIMessage(f"{begun.content} {told}", id=begun.id, usage_metadata=usage)]}


builder = StateGraph(State)
builder.add_node("begin", begin)
builder.add_node("finish", finish)
builder.add_edge(START, "begin")
builder.add_edge("begin", "finish")
builder.add_edge("finish", END)
graph = builder.compile()
