from becket import Agent
from becket_tools import calculator

# Create agent with event loop tracker
agent = Agent(
    tools=[calculator],
    callback_handler=None
)

# This will show the full event lifecycle in the console
async for event in agent.stream_async("What is the capital of France and what is 42+7?"):
    # Track event loop lifecycle
    if event.get("init_event_loop", False):
        print("ðŸ”„ Event loop initialized")
    elif event.get("start_event_loop", False):
        print("â–¶ï¸ Event loop cycle starting")
    elif "message" in event:
        print(f"ðŸ“¬ New message created: {event['message']['role']}")
    elif event.get("complete", False):
        print("âœ… Cycle completed")
    elif event.get("force_stop", False):
        print(f"ðŸ›‘ Event loop force-stopped: {event.get('force_stop_reason', 'unknown reason')}")

    # Track tool usage
    if "current_tool_use" in event and event["current_tool_use"].get("name"):
        tool_name = event["current_tool_use"]["name"]
        print(f"ðŸ”§ Using tool: {tool_name}")

    # Show only a snippet of text to keep output clean
    if "data" in event:
        # Only show first 20 chars of each chunk for demo purposes
        data_snippet = event["data"][:20] + ("..." if len(event["data"]) > 20 else "")
        print(f"ðŸ“Ÿ Text: {data_snippet}")
